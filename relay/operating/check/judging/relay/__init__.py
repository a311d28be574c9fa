"""Judges what the relay reads in Postgres, and what it keeps there: its slots and its position."""
