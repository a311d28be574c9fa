-- Notes that a relay reads now, with all that its position is a position of; returns the row's new epoch, or no row if
-- it was written since the caller read it. The position stays. Who wrote it before can no longer store. If it was one that
-- does not record what was confirmed, the records begin here.
UPDATE relay.checkpoint
SET epoch = epoch + 1, timeline = relay.timeline(), database = current_database(),
    plugin = coalesce(%(plugin)s, plugin), outboxes = %(outboxes)s::text[],
    database_oid = (SELECT oid FROM pg_database WHERE datname = current_database()),
    recorded_epoch = epoch + 1,
    recorded_since = CASE WHEN recorded_epoch = epoch THEN recorded_since ELSE snapshot END,
    recorded_besides = CASE WHEN recorded_epoch = epoch THEN recorded_besides ELSE streamed END
WHERE name = %(name)s AND epoch = %(epoch)s
  AND pg_postmaster_start_time() = %(server_started_at)s
RETURNING epoch
