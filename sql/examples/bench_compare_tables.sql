-- The tables that a relay reads or writes, in any schema, for VACUUM.
SELECT nspname, relname FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
WHERE relkind = 'r' AND nspname NOT IN ('bench', 'tasks', 'inbox', 'information_schema')
  AND NOT starts_with(nspname, 'pg_')
