-- All events, in the order in which they were written (by one session).
SELECT id::text, seq, aggregate_type, aggregate_id, aggregate_version, event_type, payload::text,
       floor(extract(epoch FROM created_at))::bigint AS created_at
FROM outbox.event
ORDER BY seq
