"""Periodic jobs of the consumers, one per file."""
