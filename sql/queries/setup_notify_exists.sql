-- Returns a row if the outbox table has the trigger of setup_notify_trigger.sql, and it is enabled.
SELECT true
FROM pg_trigger AS t
JOIN pg_class AS c ON c.oid = t.tgrelid JOIN pg_namespace AS n ON n.oid = c.relnamespace
JOIN pg_proc AS f ON f.oid = t.tgfoid JOIN pg_namespace AS fn ON fn.oid = f.pronamespace
WHERE n.nspname = %(schema)s AND c.relname = %(table)s AND t.tgname = 'relay_notify' AND t.tgenabled IN ('O', 'A')
  AND fn.nspname = 'relay' AND f.proname = 'notify'
