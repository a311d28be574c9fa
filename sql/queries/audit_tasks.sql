-- Of the events committed between `after` and `until` that tell consumers of a pending task, and that were confirmed by `confirmed_by`:
-- how many there are, and which ones are not applied. Such an event is applied when its task is not pending at its version any
-- more: claimed, cancelled, postponed, or gone.
WITH event AS MATERIALIZED (
    SELECT seq, aggregate_id, aggregate_version FROM (
        SELECT seq, tx, aggregate_id, aggregate_version, aggregate_type, event_type FROM outbox.event
        WHERE tx >= pg_snapshot_xmax(%(after)s::pg_snapshot) AND tx < pg_snapshot_xmax(%(until)s::pg_snapshot)
        UNION ALL
        SELECT seq, tx, aggregate_id, aggregate_version, aggregate_type, event_type FROM outbox.event
        WHERE tx = ANY (%(running)s::xid8[])
    ) AS candidate
    WHERE pg_visible_in_snapshot(tx, %(until)s::pg_snapshot) AND aggregate_type = 'task' AND event_type = 'pending'
), confirmed AS (
    SELECT coalesce(range_agg(c.seqs), '{}') AS seqs FROM relay.confirmed AS c
    WHERE c.relay = %(relay)s AND c.at <= %(confirmed_by)s
      AND c.seqs && (SELECT int8range(min(seq), max(seq), '[]') FROM event HAVING count(*) > 0)
), judged AS (
    SELECT event.seq, EXISTS (
        SELECT FROM tasks.task AS task WHERE task.status = 'pending' AND task.id::text = event.aggregate_id
                                         AND task.version = event.aggregate_version) AS waits
    FROM event WHERE event.seq <@ (SELECT seqs FROM confirmed)
)
SELECT count(*) AS judged, count(*) FILTER (WHERE waits) AS waiting,
       coalesce(range_agg(int8range(seq, seq, '[]')) FILTER (WHERE waits), '{}')::text AS waiting_seqs
FROM judged
