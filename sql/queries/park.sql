-- Parks events. One that comes again after a restart is there already, and stays as it is. One that was redriven goes
-- back to its own row, and waits again; unless it comes again after a restart, and the row waits or was redriven anew.
WITH given AS (
    SELECT e.*, relay.transaction_id(e.transaction) AS tx
    -- Payloads travel as bytes, in an array, which may have 1 GB; a jsonb of them all ends at 256 MB.
    FROM unnest(%(id)s::text[], %(seq)s::bigint[], %(aggregate_type)s::text[], %(aggregate_id)s::text[],
                %(aggregate_version)s::bigint[], %(event_type)s::text[], %(payload)b::bytea[], %(content_type)s::text[],
                %(headers)s::text[], %(exchange)s::text[], %(routing_key)s::text[], %(created_at)s::timestamptz[],
                %(transaction)s::bigint[], %(place)s::integer[], %(redrives)s::bigint[], %(reason)s::text[],
                %(detail)s::text[])
        WITH ORDINALITY
        AS e (id, seq, aggregate_type, aggregate_id, aggregate_version, event_type, payload, content_type, headers,
              exchange, routing_key, created_at, transaction, place, redrives, reason, detail, position)
), held AS (
    -- The lock waits for a redrive that was streamed before it is visible, as when it waits for a standby.
    SELECT number, redriven_tx FROM relay.parked
    WHERE relay = %(relay)s AND number IN (SELECT redrives FROM given)
    FOR UPDATE
), again AS (
    UPDATE relay.parked AS p
    SET reason = g.reason, detail = g.detail, after_lsn = %(after_lsn)s::pg_lsn,
        after_snapshot = %(after_snapshot)s::pg_snapshot, parked_at = clock_timestamp(), times = p.times + 1,
        redriven_at = NULL, redriven_tx = NULL
    FROM given AS g JOIN held AS h ON h.number = g.redrives AND h.redriven_tx = g.tx
    WHERE p.number = h.number
)
INSERT INTO relay.parked
    (id, seq, aggregate_type, aggregate_id, aggregate_version, event_type, payload, content_type, headers, exchange,
     routing_key, created_at, relay, outbox, tx, place, after_lsn, after_snapshot, reason, detail)
SELECT id, seq, aggregate_type, aggregate_id, aggregate_version, event_type, payload, content_type, headers::json, exchange,
       routing_key, created_at, %(relay)s, %(outbox)s, tx, place, %(after_lsn)s::pg_lsn,
       %(after_snapshot)s::pg_snapshot, reason, detail
FROM given WHERE redrives IS NULL OR redrives NOT IN (SELECT number FROM held)
ORDER BY position
ON CONFLICT (relay, outbox, tx, place, left(id, 200)) DO NOTHING
