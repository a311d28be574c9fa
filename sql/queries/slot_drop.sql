-- Drops an inactive slot. Postgres may then remove the WAL that it retained.
SELECT pg_drop_replication_slot(%(slot)s)
