-- The condition for rows of transactions that came after the snapshot that is published.
row.tx >= (SELECT pg_snapshot_xmax(c.snapshot) FROM relay.checkpoint AS c WHERE c.name = %(relay)s)
