-- Makes a position for each partition of an outbox; none has a relay yet. With one partition it is the whole outbox's, and the
-- relay's. All begin where `snapshot`, `streamed` and the round say, or with NULL as `snapshot` behind everything that is visible
-- now. Rows that are there stay as they are.
INSERT INTO relay.checkpoint
    (name, slot, mode, snapshot, streamed, round_snapshot, round_seq, epoch, recorded_epoch, recorded_since, recorded_besides,
     system_identifier, timeline, database, database_oid, outboxes, partitioned, partitioned_by, partition, partitions, vacant)
SELECT CASE WHEN %(partitions)s::integer = 1 THEN %(name)s::text
            ELSE format('partition %%s/%%s of %%s', n, %(partitions)s::integer, %(outbox)s::text) END,
       CASE WHEN %(partitions)s::integer = 1 THEN %(slot)s::text END,
       'polling', begin.snapshot, %(streamed)s::int8multirange, %(round_snapshot)s::pg_snapshot, %(round_seq)s::bigint,
       %(epoch)s::bigint, CASE WHEN %(recorded)s::boolean THEN %(epoch)s::bigint END,
       coalesce(%(recorded_since)s::pg_snapshot, begin.snapshot), %(recorded_besides)s::int8multirange,
       system.system_identifier::text, relay.timeline(), d.datname, d.oid, ARRAY[%(outbox)s::text],
       CASE WHEN %(partitions)s::integer > 1 THEN %(outbox)s::text END,
       CASE WHEN %(partitions)s::integer > 1 THEN %(by)s::text[] END, n, %(partitions)s::integer, %(partitions)s::integer > 1
FROM generate_series(1, %(partitions)s::integer) AS n, pg_database AS d, pg_control_system() AS system,
     coalesce(%(snapshot)s::pg_snapshot, pg_current_snapshot()) AS begin (snapshot)
WHERE d.datname = current_database()
ON CONFLICT DO NOTHING
