"""Judges the broker, and the queues that consumers read."""
