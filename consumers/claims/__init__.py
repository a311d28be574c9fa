"""Which task a delivery may run, and what became of it."""
