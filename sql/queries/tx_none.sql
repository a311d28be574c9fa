-- The same as tx_unknown.sql for a table that has no column tx yet: each row will be one from before it.
SELECT EXISTS (SELECT FROM {table}), false
