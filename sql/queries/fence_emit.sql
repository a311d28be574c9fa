-- Writes a fence into the WAL: the stream hands it back in commit order, which shows that it lives and how far it is.
-- The snapshot says exactly which transactions had been seen. Returns the relations that the outbox has now.
SELECT relay.outbox_relations(%(outbox)s::text)
FROM pg_logical_emit_message(true, 'relay.fence', %(token)s || ' ' || pg_current_snapshot()::text)
