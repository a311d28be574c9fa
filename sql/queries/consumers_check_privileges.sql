-- Each privilege that a consumer needs, what it is granted with, and whether the connected role has it; NULL if the object
-- does not exist. `events` is whether it handles events, `prunes` whether it removes what is old from the inbox. Objects are
-- looked up in the catalog, since to_regclass fails without USAGE on the schema.
WITH needed (kind, namespace, name, privilege, columns) AS (VALUES
    ('schema',   'tasks',        NULL,         'USAGE',   NULL),
    ('schema',   'outbox',       NULL,         'USAGE',   NULL),
    ('schema',   'outbox_setup', NULL,         'USAGE',   NULL),
    ('table',    'outbox_setup', 'applied',    'SELECT',  NULL),
    ('table',    'tasks',        'task',       'SELECT',  NULL),
    ('columns',  'tasks',        'task',       'UPDATE',
     ARRAY['status', 'version', 'attempts', 'run_at', 'lease_until', 'claimed_by', 'last_error', 'result', 'updated_at']),
    ('columns',  'tasks',        'task',       'INSERT',
     ARRAY['id', 'type', 'payload', 'max_attempts', 'status', 'run_at']),
    ('table',    'tasks',        'transition', 'SELECT',  NULL),
    ('table',    'tasks',        'lock',       'SELECT',  NULL),
    ('columns',  'outbox',       'event',      'INSERT',
     ARRAY['id', 'aggregate_type', 'aggregate_id', 'aggregate_version', 'event_type', 'payload', 'headers', 'exchange',
           'routing_key']),
    ('function', 'tasks', 'acquire_lock(text, interval, text)',    'EXECUTE', NULL),
    ('function', 'tasks', 'release_lock(text, bigint, interval)',  'EXECUTE', NULL),
    ('function', 'tasks', 'extend_lock(text, bigint, interval)',   'EXECUTE', NULL),
    ('function', 'tasks', 'free_lock(text)',                       'EXECUTE', NULL),
    ('function', 'tasks', 'prune_tasks(interval, integer)',        'EXECUTE', NULL),
    ('function', 'tasks', 'end_expired_claims(integer)',           'EXECUTE', NULL),
    ('function', 'tasks', 'refuse_commit()',                       'EXECUTE', NULL),
    ('function', 'tasks', 'end_attempt(uuid, bigint, double precision)', 'EXECUTE', NULL),
    ('function', 'tasks', 'send_probe(interval)',                  'EXECUTE', NULL),
    ('function', 'tasks', 'probes_arrived(uuid[])',                'EXECUTE', NULL),
    ('function', 'tasks', 'announce_again(interval, integer)',     'EXECUTE', NULL),
    ('schema',   'inbox', NULL,                                    'USAGE',   NULL),
    ('function', 'inbox', 'prune(interval, integer)',              'EXECUTE', NULL),
    ('table',    'inbox', 'message',                               'SELECT',  NULL),
    ('table',    'inbox', 'message',                               'INSERT',  NULL),
    ('table',    'inbox', 'position',                              'SELECT',  NULL),
    ('table',    'inbox', 'position',                              'INSERT',  NULL),
    ('columns',  'inbox', 'position',                              'UPDATE',  ARRAY['version', 'changed_at']),
    ('table',    'inbox', 'parked',                                'SELECT',  NULL),
    ('table',    'inbox', 'parked',                                'INSERT',  NULL),
    ('columns',  'inbox', 'parked',                                'UPDATE',
     ARRAY['asked_at', 'applied_at', 'times', 'parked_at', 'reason', 'error']),
    ('function', 'inbox', 'discard_parked(bigint)',                'EXECUTE', NULL)
)
SELECT CASE WHEN columns IS NULL THEN privilege ELSE format('%%s (%%s)', privilege, array_to_string(columns, ', ')) END AS privilege,
       CASE kind WHEN 'schema' THEN 'SCHEMA ' || namespace WHEN 'function' THEN format('FUNCTION %%s.%%s', namespace, name)
                 ELSE format('%%s.%%s', namespace, name) END AS object,
       CASE kind
           WHEN 'schema' THEN (SELECT has_schema_privilege(n.oid, privilege) FROM pg_namespace AS n WHERE n.nspname = namespace)
           WHEN 'function' THEN
               (SELECT has_function_privilege(p.oid, privilege) FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace
                WHERE n.nspname = namespace AND format('%%s(%%s)', p.proname, oidvectortypes(p.proargtypes)) = name)
           WHEN 'table' THEN
               (SELECT has_table_privilege(c.oid, privilege) FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
                WHERE n.nspname = namespace AND c.relname = name)
           ELSE
               (SELECT bool_and(has_column_privilege(c.oid, a.attnum, privilege))
                FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
                JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attname = ANY (columns)
                WHERE n.nspname = namespace AND c.relname = name)
       END AS held
FROM needed
WHERE namespace <> 'inbox' OR %(events)s
   OR %(prunes)s AND (kind = 'schema' OR name = 'prune(interval, integer)')
