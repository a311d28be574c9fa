-- Drops a slot that nobody holds; what it kept of the WAL may be removed from then on.
SELECT pg_drop_replication_slot(%(slot)s)
