-- Creates the slot so that standbys keep a copy of it (PostgreSQL 17 and later).
-- https://www.postgresql.org/docs/current/logicaldecoding-explanation.html#LOGICALDECODING-REPLICATION-SLOTS-SYNCHRONIZATION
SELECT FROM pg_create_logical_replication_slot(%(slot)s, %(plugin)s, false, false, true)
