-- Two that make the same slot at once: the second waits here until the session of the first has ended.
SELECT pg_advisory_lock(hashtextextended('outbox-relay slot ' || %(slot)s, 0))
