-- Sets a relay's position to where its slot stands, whatever it was before: a first setup, or an accepted gap. What was
-- published before is not known then, so there is no snapshot, and nothing of what belongs to one: transactions of another
-- server, or of another outbox, may have the same ids.
INSERT INTO relay.checkpoint AS c
    (name, slot, lsn, epoch, system_identifier, timeline, database, database_oid, plugin, outboxes)
SELECT %(name)s, slot_name, confirmed_flush_lsn, 1, system.system_identifier::text, relay.timeline(),
       d.datname, d.oid, plugin, %(outboxes)s::text[]
FROM pg_replication_slots AS s JOIN pg_database AS d ON d.oid = s.datoid,
     pg_control_system() AS system
WHERE slot_name = %(slot)s AND d.datname = current_database()
ON CONFLICT (name) DO UPDATE
SET slot = excluded.slot, mode = excluded.mode, lsn = excluded.lsn, snapshot = NULL, streamed = '{}',
    round_snapshot = NULL, round_seq = NULL, filter_snapshot = NULL, filter_end = NULL, making_slot = false,
    epoch = c.epoch + 1, recorded_epoch = CASE WHEN c.recorded_epoch = c.epoch THEN c.epoch + 1 END,
    recorded_since = CASE WHEN c.system_identifier = excluded.system_identifier THEN c.recorded_since END,
    recorded_besides = CASE WHEN c.system_identifier = excluded.system_identifier THEN c.recorded_besides ELSE '{}' END,
    system_identifier = excluded.system_identifier, timeline = excluded.timeline, database = excluded.database,
    database_oid = excluded.database_oid, plugin = excluded.plugin, outboxes = excluded.outboxes,
    updated_at = clock_timestamp()
