-- Creates a slot that ends with this session. The plugin is loaded first; then it waits for the transactions that are
-- running now.
SELECT FROM pg_create_logical_replication_slot(%(slot)s, %(plugin)s, temporary => true)
