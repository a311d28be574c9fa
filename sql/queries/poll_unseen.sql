-- The rows that the snapshot `after` had not seen and `now` does. Two scans of the index on tx, which no row is in both of:
-- an OR would read all of one before it gives the first row. The last condition keeps out frozen rows, which every
-- snapshot sees.
SELECT * FROM (
    SELECT {columns} FROM {table} WHERE tx >= %(xmax)s::xid8
    UNION ALL
    SELECT {columns} FROM {table} WHERE tx = ANY(%(running)s::xid8[])
) AS candidate
WHERE pg_visible_in_snapshot(tx, %(now)s::pg_snapshot)
