"""`bench compare`: every way of relaying the outbox by the same workload, and the report of what was found."""
