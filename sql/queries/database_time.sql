-- The database's clock: a node's own may be wrong.
SELECT clock_timestamp()
