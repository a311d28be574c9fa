-- The position of the slot, and the system that it is a position of.
SELECT confirmed_flush_lsn::text, s.system_identifier::text
FROM pg_replication_slots, pg_control_system() AS s
WHERE slot_name = %(slot)s
