-- The outbox table; no row if it does not exist. wal2json sends the name of a row's partition, not of its table, so the
-- relay recognises partitions by name. Two lists show where that fails: partitions whose name does not begin with the
-- table's name, and other tables whose name does.
SELECT c.relkind = 'p' AS partitioned,
       ARRAY(SELECT a.attname::text FROM pg_attribute AS a
             WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
             ORDER BY a.attnum) AS columns,
       ARRAY(SELECT leaf.relid::regclass::text
             FROM pg_partition_tree(c.oid) AS leaf JOIN pg_class AS p ON p.oid = leaf.relid
             WHERE c.relkind = 'p' AND leaf.isleaf
               AND (p.relnamespace <> c.relnamespace OR NOT starts_with(p.relname, c.relname || '_'))
             ORDER BY 1) AS other_names,
       ARRAY(SELECT o.oid::regclass::text
             FROM pg_class AS o
             WHERE c.relkind = 'p' AND o.relkind IN ('r', 'p') AND o.relnamespace = c.relnamespace
               AND starts_with(o.relname, c.relname || '_')
               AND NOT EXISTS (SELECT FROM pg_partition_tree(c.oid) AS part WHERE part.relid = o.oid)
             ORDER BY 1) AS other_tables
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE n.nspname = %(schema)s AND c.relname = %(table)s AND c.relkind IN ('r', 'p')
