"""What makes the relay change its source: it polls, goes back to the WAL by itself, and nothing is missing."""
