-- Creates the slot. It waits for all transactions that have an id to end, in every database, prepared ones too.
SELECT FROM pg_create_logical_replication_slot(%(slot)s, %(plugin)s)
