-- Parks events. One that was redriven and failed again waits again; one that is parked already stays as it is, since
-- it only came again after a restart; a discarded one stays discarded.
INSERT INTO relay.parked AS p
    (id, seq, aggregate_type, aggregate_id, aggregate_version, event_type, payload, headers, exchange, routing_key,
     created_at, relay, after_lsn, after_snapshot, reason, detail)
SELECT id, seq, aggregate_type, aggregate_id, aggregate_version, event_type, payload, headers::json, exchange, routing_key,
       created_at, %(relay)s, %(after_lsn)s::pg_lsn, %(after_snapshot)s::pg_snapshot, reason, detail
-- Payloads travel as bytes, in an array, which may have 1 GB; a jsonb of them all ends at 256 MB.
FROM unnest(%(id)s::text[], %(seq)s::bigint[], %(aggregate_type)s::text[], %(aggregate_id)s::text[],
            %(aggregate_version)s::bigint[], %(event_type)s::text[], %(payload)b::bytea[], %(headers)s::text[],
            %(exchange)s::text[], %(routing_key)s::text[], %(created_at)s::timestamptz[], %(reason)s::text[],
            %(detail)s::text[])
    AS e (id, seq, aggregate_type, aggregate_id, aggregate_version, event_type, payload, headers, exchange, routing_key,
          created_at, reason, detail)
ON CONFLICT (id) DO UPDATE
SET reason = excluded.reason, detail = excluded.detail, after_lsn = excluded.after_lsn,
    after_snapshot = excluded.after_snapshot, relay = excluded.relay,
    parked_at = clock_timestamp(), times = p.times + 1, redriven_at = NULL
WHERE p.redriven_at IS NOT NULL
