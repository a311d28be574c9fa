-- What all of the relays have published that share an outbox with the relay `name`, or the relay itself, locked: `seen` are the
-- transactions that the snapshot of each sees, `streamed` those that each has published besides. What only some of them have
-- published is not in it. `epoch` is the highest one: rows that go on from it are taken for none of these. No row if there is no
-- such relay.
WITH taken AS (
    SELECT c.* FROM relay.checkpoint AS c
    WHERE c.name = %(name)s OR c.partitioned = (SELECT n.partitioned FROM relay.checkpoint AS n WHERE n.name = %(name)s)
    FOR UPDATE
), published AS (
    SELECT t.*,
           int8multirange(int8range(0, pg_snapshot_xmax(t.snapshot)::text::bigint))
           - coalesce((SELECT range_agg(int8range(xip::text::bigint, xip::text::bigint, '[]'))
                       FROM pg_snapshot_xip(t.snapshot) AS xip), '{}') AS seen
    FROM taken AS t
)
SELECT array_agg(name ORDER BY partition)                                                          AS names,
       coalesce(array_agg(name ORDER BY partition) FILTER (WHERE NOT vacant), '{}')                AS relays,
       array_remove(array_agg(slot) || array_agg(replay_slot), NULL)                               AS slots,
       min(outboxes::text)::text[]                                                                 AS outboxes,
       count(*)::integer                                                                           AS partitions,
       max(epoch)                                                                                  AS epoch,
       bool_and(system_identifier = (SELECT s.system_identifier::text FROM pg_control_system() AS s)
                AND coalesce(database_oid = (SELECT d.oid FROM pg_database AS d
                                             WHERE d.datname = current_database()), true))         AS here,
       coalesce(array_agg(name ORDER BY partition) FILTER (WHERE snapshot IS NULL), '{}')          AS unknown,
       range_intersect_agg(seen)::text                                                             AS seen,
       (range_intersect_agg(streamed + seen) - range_intersect_agg(seen))::text                    AS streamed,
       CASE WHEN count(*) = 1 THEN min(round_snapshot::text) END                                   AS round_snapshot,
       CASE WHEN count(*) = 1 THEN min(round_seq) END                                              AS round_seq,
       bool_and(recorded_epoch IS NOT DISTINCT FROM epoch AND recorded_since IS NOT NULL)          AS recorded,
       (array_agg(recorded_since::text
                  ORDER BY pg_snapshot_xmax(recorded_since) DESC, pg_snapshot_xmin(recorded_since) DESC))[1] AS recorded_since,
       range_agg(recorded_besides)::text                                                           AS recorded_besides
FROM published HAVING count(*) > 0
