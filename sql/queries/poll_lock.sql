-- Before the snapshot is taken: an older one would see a table empty that ALTER TABLE has just rewritten.
-- https://www.postgresql.org/docs/current/mvcc-caveats.html
LOCK TABLE {table} IN ACCESS SHARE MODE
