-- What the catalog says of the outbox table, and of the publication that pgoutput reads. There is always one row, with
-- `kind` NULL without such a table. Relations are found by oid, not by name. `snapshot` says how new this is: a
-- transaction that it sees knew no relations, and no names, that came later.
WITH outbox AS (
    SELECT c.oid, c.relkind, c.relnamespace
    FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE n.nspname = %(schema)s AND c.relname = %(table)s AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
), leaf AS (  -- what holds the rows: the partitions, or the table itself
    SELECT n.nspname AS schema, l.relname AS name, l.relkind, l.relpersistence
    FROM outbox
    CROSS JOIN LATERAL (SELECT outbox.oid AS relid WHERE outbox.relkind <> 'p'
                        UNION ALL
                        SELECT p.relid FROM pg_partition_tree(outbox.oid) AS p
                        WHERE outbox.relkind = 'p' AND p.isleaf AND p.relid <> outbox.oid) AS part
    JOIN pg_class AS l ON l.oid = part.relid JOIN pg_namespace AS n ON n.oid = l.relnamespace
), attribute AS (
    SELECT a.attnum, a.attname AS name, a.atttypid::bigint AS type, format_type(a.atttypid, a.atttypmod) AS type_name,
           a.attgenerated AS generated,
           (SELECT pg_get_expr(d.adbin, d.adrelid) FROM pg_attrdef AS d
            WHERE d.adrelid = a.attrelid AND d.adnum = a.attnum AND a.attgenerated = '') AS default,
           (WITH RECURSIVE base AS (
                SELECT t.oid, t.typtype, t.typbasetype FROM pg_type AS t WHERE t.oid = a.atttypid
                UNION ALL
                SELECT t.oid, t.typtype, t.typbasetype
                FROM base JOIN pg_type AS t ON t.oid = base.typbasetype WHERE base.typtype = 'd')
            SELECT base.oid::bigint FROM base WHERE base.typtype <> 'd') AS base
    FROM outbox JOIN pg_attribute AS a ON a.attrelid = outbox.oid
    WHERE a.attnum > 0 AND NOT a.attisdropped
)
SELECT (SELECT relkind FROM outbox) AS kind,
       (SELECT coalesce(jsonb_agg(to_jsonb(attribute) - 'attnum' ORDER BY attnum), '[]') FROM attribute) AS columns,
       (SELECT coalesce(jsonb_agg(jsonb_build_array(schema, name) ORDER BY schema, name), '[]') FROM leaf) AS leaves,
       (SELECT coalesce(jsonb_agg(o.relname ORDER BY o.relname), '[]')
        FROM outbox JOIN pg_class AS o ON o.relnamespace = outbox.relnamespace
        WHERE outbox.relkind = 'p' AND o.relkind IN ('r', 'm')
          AND NOT EXISTS (SELECT FROM pg_partition_tree(outbox.oid) AS part WHERE part.relid = o.oid)) AS others,
       (SELECT coalesce(jsonb_agg(schema || '.' || name ORDER BY schema, name), '[]')
        FROM leaf WHERE relpersistence = 'u') AS unlogged,
       (SELECT coalesce(jsonb_agg(schema || '.' || name ORDER BY schema, name), '[]')
        FROM leaf WHERE relpersistence = 't') AS temporary,
       (SELECT coalesce(jsonb_agg(leaf.schema || '.' || leaf.name ORDER BY schema, name), '[]')
        FROM leaf, outbox WHERE outbox.relkind = 'p' AND leaf.relkind = 'f') AS foreign_partitions,
       (SELECT coalesce(jsonb_agg(i.inhrelid::regclass::text ORDER BY i.inhrelid::regclass::text), '[]')
        FROM outbox JOIN pg_inherits AS i ON i.inhparent = outbox.oid WHERE outbox.relkind <> 'p') AS children,
       (SELECT coalesce(jsonb_agg(DISTINCT a.attname), '[]')  -- columns that are only included do not count
        FROM outbox JOIN pg_index AS i ON i.indrelid = outbox.oid
        CROSS JOIN generate_series(0, i.indnkeyatts - 1) AS place
        JOIN pg_attribute AS a ON a.attrelid = outbox.oid AND a.attnum = i.indkey[place]
        WHERE i.indisunique AND i.indisvalid AND i.indpred IS NULL) AS unique,
       (SELECT jsonb_build_object(
                   'actions', array_remove(ARRAY[
                        CASE WHEN p.pubinsert THEN 'insert' END, CASE WHEN p.pubupdate THEN 'update' END,
                        CASE WHEN p.pubdelete THEN 'delete' END, CASE WHEN p.pubtruncate THEN 'truncate' END], NULL),
                   'through_root', p.pubviaroot,
                   'has_table', t.tablename IS NOT NULL
                       OR (NOT p.pubviaroot AND (  -- then the leaves are listed, and not their table
                           SELECT bool_and(EXISTS (
                               SELECT FROM pg_publication_tables AS l
                               WHERE l.pubname = p.pubname AND l.schemaname = leaf.schema AND l.tablename = leaf.name))
                           FROM leaf) IS TRUE),
                   -- Postgres 14 has neither filters nor lists of columns, and 17 publishes no generated columns.
                   'row_filter', to_jsonb(t) ->> 'rowfilter',
                   'columns', to_jsonb(t) -> 'attnames',
                   'generated', coalesce(to_jsonb(p) ->> 'pubgencols', 'n') = 's')
        FROM pg_publication AS p LEFT JOIN pg_publication_tables AS t
          ON t.pubname = p.pubname AND t.schemaname = %(schema)s AND t.tablename = %(table)s
        WHERE p.pubname = %(publication)s) AS publication,
       current_user::text AS role,
       coalesce((SELECT has_table_privilege(outbox.oid, 'SELECT') FROM outbox), true) AS readable,
       coalesce((SELECT row_security_active(outbox.oid) FROM outbox), false) AS hidden,
       pg_current_snapshot()::text AS snapshot
