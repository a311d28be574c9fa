-- Advances an inactive slot. It reads the WAL without the output plugin, so it passes rows that the plugin cannot
-- decode.
SELECT end_lsn::text FROM pg_replication_slot_advance(%(slot)s, %(lsn)s::pg_lsn)
