-- Records of a stretch of time whose events are all in the outbox, under other ids: the sums of their hashes differ. Where a
-- record has ids, the events are named.
WITH event AS MATERIALIZED (
    SELECT seq, id FROM outbox.event WHERE tx >= pg_snapshot_xmin(%(after)s::pg_snapshot)
), record AS MATERIALIZED (
    SELECT c.number, c.seqs, c.ids, c.ids_hash FROM relay.confirmed AS c
    WHERE c.relay = ANY (ARRAY(SELECT relay.members(%(relay)s)))
      AND c.at > %(confirmed_after)s AND c.at <= %(confirmed_until)s
), part AS MATERIALIZED (
    SELECT r.number, n.seq, row_number() OVER (PARTITION BY r.number ORDER BY n.seq) AS place
    FROM record AS r, unnest(r.seqs) AS range, generate_series(lower(range), upper(range) - 1) AS n (seq)
), other AS MATERIALIZED (
    SELECT p.number
    FROM part AS p LEFT JOIN event AS e ON e.seq = p.seq
    GROUP BY p.number
    HAVING count(*) = count(e.seq)
       AND sum(hashtextextended(e.id::text, 0)::numeric) <> (SELECT r.ids_hash FROM record AS r WHERE r.number = p.number)
)
SELECT p.seq, r.ids[p.place]::text AS confirmed, e.id::text AS id
FROM other JOIN record AS r ON r.number = other.number JOIN part AS p ON p.number = r.number JOIN event AS e ON e.seq = p.seq
WHERE r.ids IS NULL OR r.ids[p.place] <> e.id
ORDER BY p.seq
