-- Ends the process that streams from the slot, if there is one; a slot in use cannot be dropped.
SELECT pg_terminate_backend(active_pid, 5000) FROM pg_replication_slots WHERE slot_name = %(slot)s AND active_pid IS NOT NULL
