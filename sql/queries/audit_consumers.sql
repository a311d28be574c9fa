-- Which consumers have taken events of which kind, of those committed between `after` and `until`, and when the first of these was
-- confirmed. The inbox has an index by consumer, so the consumers are looked up first, one after another.
WITH RECURSIVE event AS MATERIALIZED (
    SELECT seq, id::text AS id, aggregate_type, aggregate_id, aggregate_version, event_type,
           coalesce(exchange, '') AS exchange, coalesce(routing_key, '') AS routing_key
    FROM (
        SELECT * FROM outbox.event
        WHERE tx >= pg_snapshot_xmax(%(after)s::pg_snapshot) AND tx < pg_snapshot_xmax(%(until)s::pg_snapshot)
        UNION ALL
        SELECT * FROM outbox.event WHERE tx = ANY (%(running)s::xid8[])
    ) AS candidate
    WHERE pg_visible_in_snapshot(tx, %(until)s::pg_snapshot) AND NOT (aggregate_type = 'task' AND event_type = 'pending')
), confirmed AS MATERIALIZED (
    SELECT n.seq, min(c.at) AS at
    FROM relay.confirmed AS c, unnest(c.seqs) AS range, generate_series(lower(range), upper(range) - 1) AS n (seq)
    WHERE c.relay = ANY (ARRAY(SELECT relay.members(%(relay)s)))
      AND c.seqs && (SELECT int8range(min(seq), max(seq), '[]') FROM event HAVING count(*) > 0)
    GROUP BY n.seq
), by_message AS (
    (SELECT m.consumer FROM inbox.message AS m ORDER BY m.consumer LIMIT 1)
    UNION ALL
    SELECT (SELECT m.consumer FROM inbox.message AS m WHERE m.consumer > b.consumer ORDER BY m.consumer LIMIT 1)
    FROM by_message AS b WHERE b.consumer IS NOT NULL
), by_version AS (
    (SELECT p.consumer FROM inbox.position AS p ORDER BY p.consumer LIMIT 1)
    UNION ALL
    SELECT (SELECT p.consumer FROM inbox.position AS p WHERE p.consumer > b.consumer ORDER BY p.consumer LIMIT 1)
    FROM by_version AS b WHERE b.consumer IS NOT NULL
), taken AS (
    SELECT e.seq, b.consumer FROM event AS e JOIN by_message AS b ON b.consumer IS NOT NULL
    WHERE EXISTS (SELECT FROM inbox.message AS m WHERE m.consumer = b.consumer AND m.message_id = e.id)
    UNION
    SELECT e.seq, b.consumer FROM event AS e JOIN by_version AS b ON b.consumer IS NOT NULL
    WHERE EXISTS (SELECT FROM inbox.position AS p
                  WHERE p.consumer = b.consumer AND p.aggregate_type = e.aggregate_type AND p.aggregate_id = e.aggregate_id
                    AND p.version >= e.aggregate_version)
)
SELECT e.aggregate_type, e.event_type, e.exchange, e.routing_key, t.consumer, min(c.at) AS first_at
FROM taken AS t JOIN event AS e ON e.seq = t.seq JOIN confirmed AS c ON c.seq = t.seq
GROUP BY 1, 2, 3, 4, 5
