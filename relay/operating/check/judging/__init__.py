"""Judges facts. Pure."""
