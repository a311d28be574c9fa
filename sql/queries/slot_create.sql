-- Creates the slot. It waits for the transactions that are running now.
SELECT FROM pg_create_logical_replication_slot(%(slot)s, %(plugin)s)
