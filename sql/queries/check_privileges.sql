-- Each privilege that `relay run`, `relay status` and `relay check` need, and whether the connected role has it: NULL
-- where the object is not there. `%(table)s` is the outbox as schema.table, NULL where there is none. Objects are found
-- in the catalog, since to_regclass is refused where USAGE on the schema is missing.
WITH needed (kind, namespace, name, privilege, purpose) AS (VALUES
    ('schema',   'relay',  NULL,                         'USAGE',   'store the position'),
    ('table',    'relay',  'checkpoint',                 'SELECT',  'find the stored position'),
    ('table',    'relay',  'checkpoint',                 'INSERT',  'store the position'),
    ('table',    'relay',  'checkpoint',                 'UPDATE',  'store the position'),
    ('table',    'relay',  'parked',                     'SELECT',  'count what is parked'),
    ('table',    'relay',  'parked',                     'INSERT',  'park what cannot be published'),
    ('table',    'relay',  'parked',                     'UPDATE',  'park what failed again'),
    ('schema',   'outbox', NULL,                         'USAGE',   'make partitions ahead'),
    ('function', 'outbox', 'create_partitions(integer)', 'EXECUTE', 'make partitions ahead'),
    ('table',    'public', 'outbox_relay_schema',        'SELECT',  'tell whether the schema is up to date'),
    ('table',    split_part(%(table)s::text, '.', 1), split_part(%(table)s::text, '.', 2),
                                                         'SELECT',  'tell what is unpublished, park what is skipped')
)
SELECT kind, privilege, purpose, concat_ws('.', namespace, name) AS object,
       CASE kind
           WHEN 'schema' THEN
               (SELECT has_schema_privilege(n.oid, privilege) FROM pg_namespace AS n WHERE n.nspname = namespace)
           WHEN 'table' THEN
               (SELECT has_table_privilege(c.oid, privilege)
                FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
                WHERE n.nspname = namespace AND c.relname = name)
           WHEN 'function' THEN
               (SELECT has_function_privilege(p.oid, privilege)
                FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace
                WHERE n.nspname = namespace AND format('%%s(%%s)', p.proname, oidvectortypes(p.proargtypes)) = name)
       END AS held
FROM needed WHERE namespace IS NOT NULL
