-- When events with some numbers were confirmed, and under which ids; a merged record has no ids.
SELECT DISTINCT ON (n.seq) n.seq, c.ids[n.place]::text AS id, c.at
FROM relay.confirmed AS c
CROSS JOIN LATERAL (
    SELECT s.seq, row_number() OVER (ORDER BY s.seq) AS place
    FROM unnest(c.seqs) AS range, generate_series(lower(range), upper(range) - 1) AS s (seq)
) AS n
WHERE c.relay = ANY (ARRAY(SELECT relay.members(%(relay)s)))
  AND c.seqs && %(seqs)s::int8multirange AND n.seq <@ %(seqs)s::int8multirange
ORDER BY n.seq, c.ids IS NULL, c.at
