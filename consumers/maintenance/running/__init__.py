"""Runs scheduled jobs: the timer, the lock of each run, and leadership."""
