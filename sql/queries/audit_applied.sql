-- Of the events committed between `after` and `until` that consumers are expected to have taken: how many there are, and which ones are
-- not applied; the row without a consumer is about all of them. A consumer is expected to take an event of a kind if it has
-- taken one that was confirmed earlier. An event that it has parked waits there.
WITH event AS MATERIALIZED (
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
), expected AS (
    SELECT * FROM unnest(%(aggregate_types)s::text[], %(event_types)s::text[], %(exchanges)s::text[], %(routing_keys)s::text[],
                         %(consumers)s::text[], %(first_ats)s::timestamptz[])
        AS expected (aggregate_type, event_type, exchange, routing_key, consumer, first_at)
), judged AS (
    SELECT e.seq, x.consumer,
           EXISTS (SELECT FROM inbox.message AS m WHERE m.consumer = x.consumer AND m.message_id = e.id)
           OR EXISTS (SELECT FROM inbox.position AS p
                      WHERE p.consumer = x.consumer AND p.aggregate_type = e.aggregate_type
                        AND p.aggregate_id = e.aggregate_id AND p.version >= e.aggregate_version)
           OR EXISTS (SELECT FROM inbox.parked AS k WHERE k.consumer = x.consumer AND k.message_id = e.id) AS taken
    FROM event AS e JOIN confirmed AS c ON c.seq = e.seq
    JOIN expected AS x ON (x.aggregate_type, x.event_type, x.exchange, x.routing_key)
                        = (e.aggregate_type, e.event_type, e.exchange, e.routing_key)
    WHERE c.at > x.first_at AND c.at <= %(confirmed_by)s AND c.at >= %(remembered)s
)
SELECT consumer, count(DISTINCT seq) AS judged, count(DISTINCT seq) FILTER (WHERE NOT taken) AS waiting,
       coalesce(range_agg(int8range(seq, seq, '[]')) FILTER (WHERE NOT taken), '{}')::text AS waiting_seqs
FROM judged GROUP BY GROUPING SETS ((consumer), ())
