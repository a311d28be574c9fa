-- Moves a slot that nobody holds forward. It reads the WAL without the output plugin, so it passes what the plugin
-- cannot decode.
SELECT end_lsn::text FROM pg_replication_slot_advance(%(slot)s, %(lsn)s::pg_lsn)
