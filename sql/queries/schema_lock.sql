-- Two runs of setup at once: the second waits here until the first has committed.
SELECT pg_advisory_xact_lock(hashtextextended('outbox-relay schema', 0))
