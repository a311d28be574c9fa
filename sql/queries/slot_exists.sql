-- Whether the slot exists.
SELECT slot_name FROM pg_replication_slots WHERE slot_name = %(slot)s
