"""Gathers what the checks judge. It changes nothing and delivers nothing."""
