-- The events that were committed behind `after`, each with the transaction of the schedule that wrote it.
SELECT id::text, aggregate_type || ' ' || aggregate_id, aggregate_version, (headers ->> 'number')::integer
FROM outbox.event
WHERE seq > %(after)s
