-- Parks the rows of outbox.event that transactions wrote, for a stream that cannot be decoded. An event that is parked
-- already does not change.
INSERT INTO relay.parked
    (id, seq, aggregate_type, aggregate_id, aggregate_version, event_type, payload, headers, exchange, routing_key,
     created_at, relay, outbox, tx, place, after_lsn, reason, detail)
SELECT id::text, seq, aggregate_type, aggregate_id, aggregate_version, event_type,
       convert_to(payload::text, 'UTF8'), headers, exchange, routing_key,
       created_at, %(relay)s, %(outbox)s, tx, row_number() OVER (PARTITION BY tx ORDER BY seq), %(after_lsn)s::pg_lsn,
       'skipped', %(detail)s
FROM outbox.event WHERE tx IN (SELECT relay.transaction_id(xid) FROM unnest(%(xids)s::bigint[]) AS xid)
ORDER BY seq
ON CONFLICT (relay, outbox, tx, place, left(id, 200)) DO NOTHING
