-- What became of the events that were committed between the snapshots `after` and `until`: of all of an outbox, whichever relay
-- publishes them. What a relay says of its position counts for the events of its partition. The record of confirms is one for all:
-- a relay may hold what another had confirmed before. Confirms are looked for from `confirmed_from` on: an event is confirmed after
-- its commit, except while the commit waits for a standby. The confirm of a redriven event is noted in its row of relay.parked.
WITH member AS MATERIALIZED (
    SELECT c.partition, c.partitions, c.snapshot AS published, c.streamed
    FROM relay.checkpoint AS c WHERE c.name IN (SELECT relay.members(%(relay)s))
), event AS MATERIALIZED (
    SELECT seq, tx,
           CASE WHEN p.partitions = 1 THEN 1 ELSE outbox.partition_of(aggregate_type, aggregate_id, p.partitions) END AS partition
    FROM (
        SELECT seq, tx, aggregate_type, aggregate_id FROM outbox.event
        WHERE tx >= pg_snapshot_xmax(%(after)s::pg_snapshot) AND tx < pg_snapshot_xmax(%(until)s::pg_snapshot)
        UNION ALL
        SELECT seq, tx, aggregate_type, aggregate_id FROM outbox.event WHERE tx = ANY (%(running)s::xid8[])
    ) AS candidate, (SELECT max(partitions) AS partitions FROM member) AS p
    WHERE pg_visible_in_snapshot(tx, %(until)s::pg_snapshot)
), span AS (
    SELECT int8range(min(seq), max(seq), '[]') AS seqs FROM event HAVING count(*) > 0
), confirmed AS (
    SELECT coalesce(range_agg(c.seqs), '{}') AS seqs FROM relay.confirmed AS c JOIN span ON c.seqs && span.seqs
    WHERE c.relay = ANY (ARRAY(SELECT relay.members(%(relay)s))) AND c.at >= coalesce(%(confirmed_from)s::timestamptz, '-infinity')
), parked AS (
    SELECT coalesce(range_agg(int8range(p.seq, p.seq, '[]')), '{}') AS seqs FROM relay.parked AS p JOIN span ON span.seqs @> p.seq
    WHERE p.relay = ANY (ARRAY(SELECT relay.members(%(relay)s))) AND (p.outbox IS NULL OR p.outbox = 'outbox.event')
), redriven AS (
    SELECT coalesce(range_agg(int8range(p.seq, p.seq, '[]')), '{}') AS seqs FROM relay.parked AS p JOIN span ON span.seqs @> p.seq
    WHERE p.relay = ANY (ARRAY(SELECT relay.members(%(relay)s))) AND (p.outbox IS NULL OR p.outbox = 'outbox.event')
      AND p.redriven_at IS NOT NULL
), judged AS (
    SELECT seq, CASE
        WHEN seq <@ (SELECT seqs FROM confirmed) OR seq <@ (SELECT seqs FROM redriven) THEN 'confirmed'
        WHEN seq <@ (SELECT seqs FROM parked) THEN 'parked'
        WHEN pg_visible_in_snapshot(tx, %(recorded_since)s::pg_snapshot)
            OR %(besides)s::int8multirange @> tx::text::bigint THEN 'unrecorded'
        WHEN pg_visible_in_snapshot(tx, m.published) OR m.streamed @> tx::text::bigint THEN 'missing'
        ELSE 'pending' END AS verdict
    FROM event JOIN member AS m ON m.partition = event.partition
)
SELECT count(*)                                                                            AS committed,
       count(*) FILTER (WHERE verdict = 'confirmed')                                       AS confirmed,
       count(*) FILTER (WHERE verdict = 'parked')                                          AS parked,
       count(*) FILTER (WHERE verdict = 'pending')                                         AS pending,
       count(*) FILTER (WHERE verdict = 'unrecorded')                                      AS unrecorded,
       count(*) FILTER (WHERE verdict = 'missing')                                         AS missing,
       coalesce(range_agg(int8range(seq, seq, '[]')) FILTER (WHERE verdict = 'missing'), '{}')::text AS missing_seqs
FROM judged
