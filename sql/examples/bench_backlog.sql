-- Writes a backlog for a relay to drain.
CALL bench.write_backlog(%(events)s, %(per_transaction)s)
