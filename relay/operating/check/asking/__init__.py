"""Gathers the facts that the checks judge. It changes nothing and delivers nothing."""
