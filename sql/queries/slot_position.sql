-- The position and the plugin of the slot, with the system and the timeline.
SELECT confirmed_flush_lsn::text, plugin, s.system_identifier::text, c.timeline_id
FROM pg_replication_slots, pg_control_system() AS s, pg_control_checkpoint() AS c
WHERE slot_name = %(slot)s
