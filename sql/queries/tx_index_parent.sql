-- Makes the index of a partitioned table without those of its partitions, which are made one by one: CONCURRENTLY is
-- refused for all of them at once.
CREATE INDEX IF NOT EXISTS {index} ON ONLY {table} (tx)
