-- Whether a relay streams from the slot.
SELECT count(*) > 0 FROM pg_replication_slots WHERE slot_name = %(slot)s AND active_pid IS NOT NULL
