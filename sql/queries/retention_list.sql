-- The outbox's partitions that are older than `keep`, and what keeps each from being dropped.
SELECT partition, until, obstacle FROM outbox.old_partitions(%(keep)s::interval)
