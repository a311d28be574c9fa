-- Whether a table has rows from before its column tx, and rows of transactions that are yet to come here: another server
-- wrote those, and they came by a restore.
SELECT EXISTS (SELECT FROM {table} WHERE tx IS NULL),
       EXISTS (SELECT FROM {table} WHERE tx >= pg_snapshot_xmax(pg_current_snapshot()))
