-- Notes that a relay streams now, with all that its position is a position of; returns the row's new epoch, or no row if
-- it was written since the caller read it. The position stays. Who wrote it before can no longer store.
UPDATE relay.checkpoint
SET epoch = epoch + 1, timeline = %(timeline)s, database = current_database(), plugin = %(plugin)s,
    database_oid = (SELECT oid FROM pg_database WHERE datname = current_database()), outboxes = %(outboxes)s::text[]
WHERE name = %(name)s AND slot = %(slot)s AND epoch = %(epoch)s AND pg_postmaster_start_time() = %(server_started_at)s
RETURNING epoch
