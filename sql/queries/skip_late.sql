-- The condition for rows of transactions that were running for the snapshot that is published.
row.tx = ANY(ARRAY(SELECT pg_snapshot_xip(c.snapshot) FROM relay.checkpoint AS c WHERE c.name = %(relay)s))
