-- Returns the pid of the process that streams from the slot, if there is one.
SELECT active_pid FROM pg_replication_slots WHERE slot_name = %(slot)s
