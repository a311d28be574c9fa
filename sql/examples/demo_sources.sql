-- For how many seconds the relay has read each source since `began`.
WITH span AS (
    SELECT mode, lead(at, 1, clock_timestamp()) OVER (ORDER BY at) - at AS lasted
    FROM (
        SELECT %(began)s::timestamptz AS at,
               coalesce((SELECT h.from_mode FROM relay.handover AS h WHERE h.at > %(began)s ORDER BY h.at LIMIT 1), c.mode) AS mode
        FROM relay.checkpoint AS c
        UNION ALL
        SELECT h.at, h.to_mode FROM relay.handover AS h WHERE h.at > %(began)s
    ) AS began
)
SELECT coalesce(sum(extract(epoch FROM lasted)) FILTER (WHERE mode = 'wal'), 0)::float     AS wal,
       coalesce(sum(extract(epoch FROM lasted)) FILTER (WHERE mode = 'polling'), 0)::float AS polling
FROM span
