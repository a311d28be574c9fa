-- Everything that is stored of a relay's parked events with one of the ids, or in one of the rows.
SELECT number AS row, id, seq, aggregate_type, aggregate_id, aggregate_version, event_type, payload, content_type,
       headers::text AS headers, exchange, routing_key, created_at, relay, outbox, tx::text, place, after_lsn, reason, detail,
       parked_at, times, asked_at, redriven_at, discarded_at
FROM relay.parked
WHERE relay = %(relay)s AND (id = ANY(%(ids)s::text[]) OR number = ANY(%(rows)s::bigint[]))
ORDER BY number
