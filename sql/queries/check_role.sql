-- The attributes of the connected role, the roles it is a member of, and privileges that it does not need.
-- `%(table)s` is the outbox as schema.table, or NULL.
WITH me AS (
    SELECT * FROM pg_roles WHERE rolname = current_user
), tables AS (
    SELECT c.oid, n.nspname || '.' || c.relname AS name
    FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p') AND n.nspname || '.' || c.relname IN ('relay.checkpoint', 'relay.parked', %(table)s::text)
), excess AS (
    SELECT format('%%s on %%s', privilege, name) AS what
    FROM tables, unnest(ARRAY['UPDATE', 'DELETE', 'TRUNCATE', 'TRIGGER']) AS privilege
    WHERE has_table_privilege(tables.oid, privilege)
      AND (privilege <> 'UPDATE' OR name = %(table)s::text)  -- the relay updates its own tables
    UNION ALL
    SELECT 'CREATE on schema ' || nspname || CASE WHEN EXISTS (
               SELECT FROM aclexplode(nspacl) AS granted WHERE grantee = 0 AND privilege_type = 'CREATE')
           THEN ', as PUBLIC has it' ELSE '' END
    FROM pg_namespace
    WHERE nspname IN ('outbox', 'relay', 'outbox_setup', 'public') AND has_schema_privilege(oid, 'CREATE')
    UNION ALL
    SELECT 'CREATE on database ' || current_database()
    WHERE has_database_privilege(current_database(), 'CREATE')
    UNION ALL
    SELECT 'ownership of database ' || d.datname FROM pg_database AS d, me
    WHERE d.datname = current_database() AND d.datdba = me.oid
)
SELECT me.rolname            AS name,
       me.rolsuper           AS superuser,
       me.rolreplication     AS replication,
       me.rolcreaterole      AS create_role,
       me.rolcreatedb        AS create_database,
       me.rolbypassrls       AS bypass_rls,
       EXISTS (SELECT FROM tables JOIN pg_class AS c ON c.oid = tables.oid
               WHERE tables.name = %(table)s::text AND c.relrowsecurity) AS hidden,
       me.rolconnlimit       AS connection_limit,
       ARRAY(SELECT other.rolname::text FROM pg_roles AS other
             WHERE NOT me.rolsuper AND other.oid <> me.oid AND pg_has_role(me.oid, other.oid, 'MEMBER')
               AND other.rolname <> 'pg_database_owner'  -- the owner's, and nobody is granted it
             ORDER BY 1)     AS member_of,
       ARRAY(SELECT what FROM excess WHERE NOT me.rolsuper) AS excess
FROM me
