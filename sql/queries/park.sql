-- Parks events. One that comes again after a restart is there already, and stays as it is. One that was redriven waits
-- again in its own row; so does one that was redriven once and cannot be published by a replay.
WITH given AS (
    -- A polled row has the whole id of its transaction, which may be as old as the table.
    SELECT e.*, CASE WHEN e.polled THEN e.transaction::text::xid8 ELSE relay.transaction_id(e.transaction) END AS tx
    -- Payloads travel as bytes, in an array, which may have 1 GB; a jsonb of them all ends at 256 MB.
    FROM unnest(%(id)s::text[], %(seq)s::bigint[], %(aggregate_type)s::text[], %(aggregate_id)s::text[],
                %(aggregate_version)s::bigint[], %(event_type)s::text[], %(payload)b::bytea[], %(content_type)s::text[],
                %(headers)s::text[], %(exchange)s::text[], %(routing_key)s::text[], %(created_at)s::timestamptz[],
                %(transaction)s::bigint[], %(polled)s::boolean[], %(place)s::integer[], %(redrives)s::bigint[],
                %(reason)s::text[], %(detail)s::text[])
        WITH ORDINALITY
        AS e (id, seq, aggregate_type, aggregate_id, aggregate_version, event_type, payload, content_type, headers,
              exchange, routing_key, created_at, transaction, polled, place, redrives, reason, detail, position)
), again AS (
    UPDATE relay.parked AS p
    SET reason = g.reason, detail = g.detail, parked_at = clock_timestamp(), times = p.times + 1, asked_at = NULL
    FROM given AS g
    WHERE p.number = g.redrives AND p.relay = %(relay)s AND p.asked_at IS NOT NULL AND p.redriven_at IS NULL
)
INSERT INTO relay.parked AS p
    (id, seq, aggregate_type, aggregate_id, aggregate_version, event_type, payload, content_type, headers, exchange,
     routing_key, created_at, relay, outbox, tx, place, after_lsn, after_snapshot, reason, detail)
SELECT id, seq, aggregate_type, aggregate_id, aggregate_version, event_type, payload, content_type, headers::json, exchange,
       routing_key, created_at, %(relay)s, %(outbox)s, tx, place, %(after_lsn)s::pg_lsn,
       %(after_snapshot)s::pg_snapshot, reason, detail
FROM given WHERE redrives IS NULL
ORDER BY position
ON CONFLICT (relay, outbox, tx, place, left(id, 200)) DO UPDATE
SET reason = excluded.reason, detail = excluded.detail, parked_at = clock_timestamp(), times = p.times + 1,
    asked_at = NULL, redriven_at = NULL
WHERE %(replayed)s AND p.redriven_at IS NOT NULL
