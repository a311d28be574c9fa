"""`relay audit`: proves from the source of truth that every committed event was confirmed, and applied."""
