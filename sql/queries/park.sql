-- Parks events. One that was redriven and failed again waits again; one that is parked already stays as it is, since
-- it only came again after a restart; a discarded one stays discarded.
INSERT INTO relay.parked AS p
    (id, seq, aggregate_type, aggregate_id, aggregate_version, event_type, payload, headers, exchange, routing_key,
     created_at, relay, after_lsn, reason, detail)
SELECT id, seq, aggregate_type, aggregate_id, aggregate_version, event_type, decode(payload, 'hex'), headers::jsonb, exchange, routing_key,
       created_at, %(relay)s, %(after_lsn)s::pg_lsn, reason, detail
-- The payload travels in hexadecimal, the headers as text, so that nothing in them is reinterpreted on the way.
FROM jsonb_to_recordset(%(events)s) AS e
    (id text, seq bigint, aggregate_type text, aggregate_id text, aggregate_version bigint, event_type text,
     payload text, headers text, exchange text, routing_key text, created_at timestamptz, reason text, detail text)
ON CONFLICT (id) DO UPDATE
SET reason = excluded.reason, detail = excluded.detail, after_lsn = excluded.after_lsn, relay = excluded.relay,
    parked_at = clock_timestamp(), times = p.times + 1, redriven_at = NULL
WHERE p.redriven_at IS NOT NULL
