-- The other relays of an outbox.
SELECT array_agg(name ORDER BY name) FROM relay.checkpoint WHERE name <> %(name)s AND outboxes && %(outboxes)s::text[]
