-- Parks the events of transactions that are about to be skipped; one that is parked already stays as it is.
INSERT INTO relay.parked
    (id, seq, aggregate_type, aggregate_id, aggregate_version, event_type, payload, headers, exchange, routing_key,
     created_at, relay, after_lsn, reason, detail)
SELECT id::text, seq, aggregate_type, aggregate_id, aggregate_version, event_type,
       convert_to(payload::text, 'UTF8'), headers, exchange, routing_key,
       created_at, %(relay)s, %(after_lsn)s::pg_lsn, 'skipped', %(detail)s
FROM outbox.event WHERE id = ANY(%(ids)s::uuid[])
ON CONFLICT (id) DO NOTHING
RETURNING id
