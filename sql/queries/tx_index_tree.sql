-- A partitioned table and its partitions, from the root on: each with the one it is a partition of, and whether it has rows.
SELECT n.nspname, c.relname, pn.nspname, p.relname, tree.isleaf
FROM pg_class AS root JOIN pg_namespace AS rn ON rn.oid = root.relnamespace
CROSS JOIN LATERAL pg_partition_tree(root.oid) AS tree
JOIN pg_class AS c ON c.oid = tree.relid JOIN pg_namespace AS n ON n.oid = c.relnamespace
LEFT JOIN pg_class AS p ON p.oid = tree.parentrelid AND tree.level > 0
LEFT JOIN pg_namespace AS pn ON pn.oid = p.relnamespace
WHERE rn.nspname = %(schema)s AND root.relname = %(table)s
ORDER BY tree.level, c.relname
