-- Stores the snapshot all of whose rows are published.
UPDATE relay.checkpoint
SET snapshot = %(snapshot)s::pg_snapshot, epoch = epoch + 1, updated_at = clock_timestamp()
WHERE name = %(relay)s
