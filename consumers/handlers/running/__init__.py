"""Handlers under way, in threads and on the loop, up to their outcomes."""
