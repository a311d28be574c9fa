-- Who owns our schemas, their tables, and the record; and whether the connected role may SET ROLE to that owner, for
-- which PostgreSQL 16 and later ask more than membership.
SELECT object, rolname AS owner, pg_has_role(current_user, made.owner, privilege) AS ours
FROM (
    SELECT 'schema ' || nspname AS object, nspowner AS owner, 1 AS turn FROM pg_namespace
    WHERE nspname = ANY(%(schemas)s) OR nspname = 'outbox_setup'
    UNION ALL
    SELECT 'table ' || n.nspname || '.' || c.relname, c.relowner, 2
    FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p')
      AND (n.nspname = ANY(%(schemas)s) OR n.nspname || '.' || c.relname IN ('public.outbox_relay_schema', 'outbox_setup.applied'))
) AS made JOIN pg_roles AS r ON r.oid = made.owner
CROSS JOIN (SELECT CASE WHEN current_setting('server_version_num')::integer < 160000 THEN 'MEMBER' ELSE 'SET' END) AS asked (privilege)
ORDER BY turn, object
