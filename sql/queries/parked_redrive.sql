-- Marks parked events as redriven, and returns them in the order of their first insertion. The caller inserts them into
-- the outbox in the same transaction.
WITH redriven AS (
    UPDATE relay.parked SET redriven_at = clock_timestamp()
    WHERE redriven_at IS NULL AND discarded_at IS NULL AND (%(ids)s::text[] IS NULL OR id = ANY(%(ids)s))
    RETURNING *
)
SELECT id, seq, aggregate_type, aggregate_id, aggregate_version, event_type, payload, headers::text AS headers,
       exchange, routing_key, created_at
FROM redriven ORDER BY seq, parked_at
