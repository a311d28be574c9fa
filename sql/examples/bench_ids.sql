-- The ids of all committed events.
SELECT id::text FROM outbox.event
