-- The rows of outbox.event that transactions wrote, that are in a partition, and that are still there.
SELECT s.xid, e.id::text, e.aggregate_type, e.aggregate_id, e.aggregate_version, e.event_type, e.created_at
FROM (SELECT xid, relay.transaction_id(xid) AS tx FROM unnest(%(xids)s::bigint[]) AS xid) AS s
JOIN outbox.event AS e ON e.tx = s.tx
WHERE %(partitions)s::integer = 1
   OR outbox.partition_of(e.aggregate_type, e.aggregate_id, %(partitions)s::integer) = %(partition)s::integer
ORDER BY e.seq
