-- The first rows that are not published.
SELECT id::text, seq::text, aggregate_type, aggregate_id, aggregate_version::text, event_type, payload::text, headers::text,
       exchange, routing_key, created_at::text
FROM outbox.event
WHERE published_at IS NULL
ORDER BY event.seq  -- not the text
LIMIT %(batch)s
