-- Claims the first rows that are not published, until the transaction ends.
SELECT id::text, aggregate_type, aggregate_id, aggregate_version, event_type, payload::text, headers
FROM outbox.event
WHERE published_at IS NULL
ORDER BY seq
LIMIT 100
FOR UPDATE SKIP LOCKED
