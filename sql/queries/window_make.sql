-- Copies the relay's slot, which does not change, to a slot that stays. It has the same plugin and position.
-- https://www.postgresql.org/docs/current/functions-admin.html#FUNCTIONS-REPLICATION
SELECT FROM pg_copy_logical_replication_slot(%(slot)s, %(window)s, temporary => false)
