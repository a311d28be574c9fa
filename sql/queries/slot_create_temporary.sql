-- Creates a temporary slot of this session. It loads the plugin first, then waits for the open transactions to end.
SELECT FROM pg_create_logical_replication_slot(%(slot)s, %(plugin)s, temporary => true)
