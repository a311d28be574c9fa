-- Whether a unique index says that no two rows of the table have the same key.
SELECT EXISTS (
    SELECT FROM pg_index AS i
    JOIN pg_class AS c ON c.oid = i.indrelid JOIN pg_namespace AS n ON n.oid = c.relnamespace
    JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attname = %(key)s
    WHERE n.nspname = %(schema)s AND c.relname = %(table)s AND i.indisunique AND i.indisvalid AND i.indpred IS NULL
      AND a.attnum = ANY(i.indkey))
