-- Everything that is stored of one parked event.
SELECT id, seq, aggregate_type, aggregate_id, aggregate_version, event_type, payload, headers::text AS headers,
       exchange, routing_key, created_at, relay, after_lsn, reason, detail, parked_at, times, redriven_at, discarded_at
FROM relay.parked WHERE id = %(id)s
