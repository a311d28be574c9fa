-- Copies a slot to a temporary slot of this session, with the same position. The first slot does not change.
-- https://www.postgresql.org/docs/current/functions-admin.html#FUNCTIONS-REPLICATION
SELECT FROM pg_copy_logical_replication_slot(%(slot)s, %(copy)s, temporary => true, plugin => %(plugin)s)
