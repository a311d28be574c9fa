-- Each privilege that `relay run`, `relay status` and `relay check` need, and whether the connected role has it (NULL
-- if the object does not exist). `%(table)s` is the outbox as schema.table, or NULL. Objects are looked up in the
-- catalog, because to_regclass fails without USAGE on the schema.
WITH needed (kind, namespace, name, privilege, purpose) AS (VALUES
    ('schema',   'relay',  NULL,                         'USAGE',   'store the position'),
    ('table',    'relay',  'checkpoint',                 'SELECT',  'find the stored position'),
    ('table',    'relay',  'checkpoint',                 'INSERT',  'store the position'),
    ('table',    'relay',  'checkpoint',                 'UPDATE',  'store the position'),
    ('table',    'relay',  'parked',                     'SELECT',  'count parked events'),
    ('table',    'relay',  'parked',                     'INSERT',  'park events'),
    ('table',    'relay',  'parked',                     'UPDATE',  'park an event again'),
    ('table',    'relay',  'confirmed',                  'SELECT',  'merge the records of confirms'),
    ('table',    'relay',  'confirmed',                  'INSERT',  'record confirms with the position'),
    ('table',    'relay',  'confirmed',                  'DELETE',  'remove old records of confirms'),
    ('table',    'relay',  'checkpoint_history',         'SELECT',  'note positions'),
    ('table',    'relay',  'checkpoint_history',         'INSERT',  'note positions'),
    ('table',    'relay',  'checkpoint_history',         'DELETE',  'remove old positions'),
    ('schema',   'outbox', NULL,                         'USAGE',   'create partitions'),
    ('function', 'outbox', 'create_partitions(integer)', 'EXECUTE', 'create partitions'),
    ('schema',   'outbox_setup', NULL,                   'USAGE',   'compare the schema version'),
    ('table',    'outbox_setup', 'applied',              'SELECT',  'compare the schema version'),
    ('table',    split_part(%(table)s::text, '.', 1), split_part(%(table)s::text, '.', 2),
                                                         'SELECT',  'list unpublished events, park skipped ones'),
    -- With RELAY_POLL_STRATEGY=skip_locked: to lock rows takes the right to update a column, whichever (`%(locks)s`).
    ('rows',     CASE WHEN %(locks)s::text IS NOT NULL THEN split_part(%(table)s::text, '.', 1) END,
                 split_part(%(table)s::text, '.', 2),    'UPDATE (' || quote_ident(%(locks)s::text) || ')', 'lock rows'),
    ('table',    CASE WHEN %(locks)s::text IS NOT NULL THEN 'relay' END,
                 'mark',                                 'SELECT',  'see which rows are published'),
    ('table',    CASE WHEN %(locks)s::text IS NOT NULL THEN 'relay' END,
                 'mark',                                 'INSERT',  'mark rows as published'),
    ('table',    CASE WHEN %(locks)s::text IS NOT NULL THEN 'relay' END,
                 'mark',                                 'DELETE',  'remove marks that are not needed')
)
SELECT kind, privilege, purpose, concat_ws('.', namespace, name) AS object,
       CASE kind
           WHEN 'schema' THEN
               (SELECT has_schema_privilege(n.oid, privilege) FROM pg_namespace AS n WHERE n.nspname = namespace)
           WHEN 'table' THEN
               (SELECT has_table_privilege(c.oid, privilege)
                FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
                WHERE n.nspname = namespace AND c.relname = name)
           WHEN 'rows' THEN
               (SELECT has_any_column_privilege(c.oid, 'UPDATE')
                FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
                WHERE n.nspname = namespace AND c.relname = name)
           WHEN 'function' THEN
               (SELECT has_function_privilege(p.oid, privilege)
                FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace
                WHERE n.nspname = namespace AND format('%%s(%%s)', p.proname, oidvectortypes(p.proargtypes)) = name)
       END AS held
FROM needed WHERE namespace IS NOT NULL
