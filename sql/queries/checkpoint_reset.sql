-- Sets a relay's checkpoint to where its slot stands, whatever it was before: a first setup, or an accepted gap.
INSERT INTO relay.checkpoint AS c (name, slot, lsn, system_identifier, timeline)
SELECT %(name)s, slot_name, confirmed_flush_lsn, system.system_identifier::text, checkpoint.timeline_id
FROM pg_replication_slots, pg_control_system() AS system, pg_control_checkpoint() AS checkpoint
WHERE slot_name = %(slot)s
ON CONFLICT (name) DO UPDATE
SET slot = excluded.slot, lsn = excluded.lsn, system_identifier = excluded.system_identifier,
    timeline = excluded.timeline, updated_at = clock_timestamp()
