-- Makes the index that a poll reads. Writers go on meanwhile.
-- https://www.postgresql.org/docs/current/sql-createindex.html#SQL-CREATEINDEX-CONCURRENTLY
CREATE INDEX CONCURRENTLY IF NOT EXISTS {index} ON {table} (tx)
