-- Gives a partition that has no relay to one, which goes on from the partition's position; no row if it has one.
UPDATE relay.checkpoint
SET name = %(name)s, slot = %(slot)s, vacant = false, epoch = epoch + 1,
    recorded_epoch = CASE WHEN recorded_epoch = epoch THEN epoch + 1 END, updated_at = clock_timestamp()
WHERE partitioned = %(outbox)s AND partition = %(partition)s AND partitions = %(partitions)s AND vacant
