-- Every event, in the order in which one session wrote them.
SELECT id::text, seq, aggregate_type, aggregate_id, aggregate_version, event_type, payload::text,
       floor(extract(epoch FROM created_at))::bigint AS created_at
FROM outbox.event
ORDER BY seq
