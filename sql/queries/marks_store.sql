-- Stores the snapshot all of whose rows are published.
UPDATE relay.checkpoint
SET snapshot = %(snapshot)s::pg_snapshot, epoch = epoch + 1, recorded_epoch = CASE WHEN recorded_epoch = epoch THEN epoch + 1 END, updated_at = clock_timestamp()
WHERE name = %(relay)s
