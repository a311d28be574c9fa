-- The events with some numbers, of those that were committed between the snapshots `after` and `until`.
SELECT seq, id::text AS id, aggregate_type, aggregate_id, aggregate_version, event_type, created_at
FROM (
    SELECT * FROM outbox.event
    WHERE tx >= pg_snapshot_xmax(%(after)s::pg_snapshot) AND tx < pg_snapshot_xmax(%(until)s::pg_snapshot)
    UNION ALL
    SELECT * FROM outbox.event WHERE tx = ANY (%(running)s::xid8[])
) AS candidate
WHERE pg_visible_in_snapshot(tx, %(until)s::pg_snapshot) AND seq <@ %(seqs)s::int8multirange
ORDER BY seq LIMIT %(limit)s
