-- Replaces a relay's position of another server by one of this server, after an accepted gap: what is visible now counts as
-- published, and the relay polls from here. Nothing stays that belongs to the other position, as in checkpoint_reset.sql.
-- No row is changed if the position is of this server: somebody else was first, and what was committed since is yet to be polled.
UPDATE relay.checkpoint AS c
SET slot = NULL, mode = 'polling', lsn = NULL, snapshot = pg_current_snapshot(), streamed = '{}',
    round_snapshot = NULL, round_seq = NULL, filter_snapshot = NULL, filter_end = NULL, making_slot = false,
    epoch = c.epoch + 1, recorded_epoch = c.epoch + 1, recorded_since = pg_current_snapshot(), recorded_besides = '{}',
    system_identifier = system.system_identifier::text, timeline = relay.timeline(), database = d.datname,
    database_oid = d.oid, plugin = NULL, outboxes = %(outboxes)s::text[], updated_at = clock_timestamp()
FROM pg_database AS d, pg_control_system() AS system
WHERE c.name = %(name)s AND d.datname = current_database()
  AND c.system_identifier IS DISTINCT FROM system.system_identifier::text
