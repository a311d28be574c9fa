-- The tables that a relay reads or writes, for VACUUM.
SELECT nspname, relname FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
WHERE relkind = 'r' AND nspname IN ('outbox', 'relay', 'control')
