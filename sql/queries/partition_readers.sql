-- The relays of an outbox, and its partitions that have none.
SELECT name, slot, partition, partitions, vacant, partitioned_by FROM relay.checkpoint
WHERE outboxes && %(outboxes)s::text[]
ORDER BY partition, name
