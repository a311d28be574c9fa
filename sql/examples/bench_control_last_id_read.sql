-- The rows behind the last one. A row whose transaction commits after one with a greater number is never read: that is what
-- this control shows.
SELECT id::text, seq::text, aggregate_type, aggregate_id, aggregate_version::text, event_type, payload::text, headers::text,
       exchange, routing_key, created_at::text
FROM outbox.event
WHERE seq > %(seq)s
ORDER BY event.seq  -- not the text
LIMIT %(batch)s
