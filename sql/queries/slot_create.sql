-- Creates the slot. It waits for the open transactions to end.
SELECT FROM pg_create_logical_replication_slot(%(slot)s, %(plugin)s)
