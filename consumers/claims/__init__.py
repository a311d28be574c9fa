"""Claims: which deliveries may run their task, for how long, and how it ended."""
