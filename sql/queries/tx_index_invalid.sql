-- The indexes on tx that a CREATE INDEX CONCURRENTLY has left unfinished, on a table or its partitions, and that nobody is
-- making now.
SELECT n.nspname, ic.relname
FROM pg_class AS root JOIN pg_namespace AS rn ON rn.oid = root.relnamespace
CROSS JOIN LATERAL (SELECT root.oid AS relid UNION SELECT relid FROM pg_partition_tree(root.oid)) AS tree
JOIN pg_index AS i ON i.indrelid = tree.relid AND NOT i.indisvalid
JOIN pg_class AS ic ON ic.oid = i.indexrelid AND ic.relkind = 'i'
JOIN pg_namespace AS n ON n.oid = ic.relnamespace
JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0] AND a.attname = 'tx'
WHERE rn.nspname = %(schema)s AND root.relname = %(table)s
  AND NOT EXISTS (SELECT FROM pg_stat_progress_create_index AS making WHERE making.index_relid = i.indexrelid)
