-- Returns a row, after a moment, while another session is still making the slot. Until it is made, a logical slot has no
-- position; it disappears if its session fails. https://www.postgresql.org/docs/current/view-pg-replication-slots.html
SELECT pg_sleep(0.1) FROM pg_replication_slots
WHERE slot_name = %(slot)s AND slot_type = 'logical' AND confirmed_flush_lsn IS NULL AND active_pid IS NOT NULL
