-- Parks the events of transactions that will be skipped. An event that is parked already does not change.
INSERT INTO relay.parked
    (id, seq, aggregate_type, aggregate_id, aggregate_version, event_type, payload, headers, exchange, routing_key,
     created_at, relay, after_lsn, reason, detail)
SELECT id::text, seq, aggregate_type, aggregate_id, aggregate_version, event_type,
       convert_to(payload::text, 'UTF8'), headers, exchange, routing_key,
       created_at, %(relay)s, %(after_lsn)s::pg_lsn, 'skipped', %(detail)s
FROM outbox.event WHERE id = ANY(%(ids)s::uuid[])
ON CONFLICT (id) DO NOTHING
RETURNING id
