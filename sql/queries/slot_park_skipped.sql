-- Parks the rows of outbox.event that transactions wrote, those of a partition, for a stream that cannot be decoded. An event that
-- is parked already does not change. The places are those among all rows of a transaction.
INSERT INTO relay.parked
    (id, seq, aggregate_type, aggregate_id, aggregate_version, event_type, payload, headers, exchange, routing_key,
     created_at, relay, outbox, tx, place, after_lsn, reason, detail)
SELECT id::text, seq, aggregate_type, aggregate_id, aggregate_version, event_type,
       convert_to(payload::text, 'UTF8'), headers, exchange, routing_key,
       created_at, %(relay)s, %(outbox)s, tx, place, %(after_lsn)s::pg_lsn, 'skipped', %(detail)s
FROM (
    SELECT *, row_number() OVER (PARTITION BY tx ORDER BY seq) AS place
    FROM outbox.event WHERE tx IN (SELECT relay.transaction_id(xid) FROM unnest(%(xids)s::bigint[]) AS xid)
) AS written
WHERE %(partitions)s::integer = 1
   OR outbox.partition_of(aggregate_type, aggregate_id, %(partitions)s::integer) = %(partition)s::integer
ORDER BY seq
ON CONFLICT (relay, outbox, tx, place, left(id, 200)) DO NOTHING
