"""Judges facts and asks nobody. Pure."""
