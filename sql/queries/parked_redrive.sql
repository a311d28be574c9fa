-- Puts parked events back on the stream under their own ids, in the order in which they were written.
WITH redriven AS (
    UPDATE relay.parked SET redriven_at = clock_timestamp()
    WHERE redriven_at IS NULL AND discarded_at IS NULL AND (%(ids)s::uuid[] IS NULL OR id = ANY(%(ids)s))
    RETURNING *
)
INSERT INTO outbox.event
    (id, aggregate_type, aggregate_id, aggregate_version, event_type, payload, headers, exchange, routing_key)
SELECT id, aggregate_type, aggregate_id, aggregate_version, event_type, payload, headers, exchange, routing_key
FROM redriven ORDER BY seq
RETURNING id::text
