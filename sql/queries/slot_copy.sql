-- Copies a slot into a temporary one of this session, which starts where the first one stands and moves it nowhere.
-- https://www.postgresql.org/docs/current/functions-admin.html#FUNCTIONS-REPLICATION
SELECT FROM pg_copy_logical_replication_slot(%(slot)s, %(copy)s, temporary => true, plugin => %(plugin)s)
