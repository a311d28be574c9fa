-- The rows that the snapshot `after` does not see and `now` does, of which the first id that it does not know bounds the scan
-- of the index on tx from above, too. Two scans, which no row is in both of.
SELECT * FROM (
    SELECT {columns} FROM {table} WHERE tx >= %(xmax)s::xid8 AND tx < pg_snapshot_xmax(%(now)s::pg_snapshot)
    UNION ALL
    SELECT {columns} FROM {table} WHERE tx = ANY(%(running)s::xid8[])
) AS candidate
WHERE pg_visible_in_snapshot(tx, %(now)s::pg_snapshot)
