"""Judges the Postgres server, and the role and the connection of the relay."""
