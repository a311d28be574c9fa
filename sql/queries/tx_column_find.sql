-- The type of a table's column, whether it has a default, and whether a valid index begins with it.
SELECT format_type(a.atttypid, a.atttypmod),
       coalesce(a.atthasdef, false),
       coalesce(bool_or(i.indisvalid), false)
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
LEFT JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attname = %(column)s AND NOT a.attisdropped
LEFT JOIN pg_index AS i ON i.indrelid = c.oid AND i.indkey[0] = a.attnum
WHERE n.nspname = %(schema)s AND c.relname = %(table)s
GROUP BY a.atttypid, a.atttypmod, a.atthasdef
