-- Where the slot stands, and on which system and timeline.
SELECT confirmed_flush_lsn::text, plugin, s.system_identifier::text, c.timeline_id
FROM pg_replication_slots, pg_control_system() AS s, pg_control_checkpoint() AS c
WHERE slot_name = %(slot)s
