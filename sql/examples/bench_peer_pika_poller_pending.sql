-- The events that are not marked as published.
SELECT id::text FROM outbox.event WHERE published_at IS NULL
