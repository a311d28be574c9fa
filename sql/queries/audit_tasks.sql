-- Of the events committed between `after` and `until` that tell consumers of a pending task, and that were confirmed by `confirmed_by`:
-- how many there are, and which ones are not applied. Such an event is applied when its task is not pending at its version any
-- more: claimed, cancelled, postponed, or gone.
WITH event AS MATERIALIZED (
    -- By the task's id as it is stored; what has another form is no task of ours.
    SELECT seq, aggregate_version,
           CASE WHEN aggregate_id ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' THEN aggregate_id::uuid END AS task_id
    FROM (
        SELECT seq, tx, aggregate_id, aggregate_version, aggregate_type, event_type FROM outbox.event
        WHERE tx >= pg_snapshot_xmax(%(after)s::pg_snapshot) AND tx < pg_snapshot_xmax(%(until)s::pg_snapshot)
        UNION ALL
        SELECT seq, tx, aggregate_id, aggregate_version, aggregate_type, event_type FROM outbox.event
        WHERE tx = ANY (%(running)s::xid8[])
    ) AS candidate
    WHERE pg_visible_in_snapshot(tx, %(until)s::pg_snapshot) AND aggregate_type = 'task' AND event_type = 'pending'
), confirmed AS (
    SELECT coalesce(range_agg(c.seqs), '{}') AS seqs FROM relay.confirmed AS c
    WHERE c.relay = ANY (ARRAY(SELECT relay.members(%(relay)s))) AND c.at <= %(confirmed_by)s
      AND c.seqs && (SELECT int8range(min(seq), max(seq), '[]') FROM event HAVING count(*) > 0)
), pending AS MATERIALIZED (
    SELECT id, version FROM tasks.task WHERE status = 'pending'
), judged AS (
    -- Looked up in a hash table that is made once, however many tasks wait.
    SELECT event.seq,
           coalesce((event.task_id, event.aggregate_version) IN (SELECT p.id, p.version FROM pending AS p), false) AS waits
    FROM event WHERE event.seq <@ (SELECT seqs FROM confirmed)
)
SELECT count(*) AS judged, count(*) FILTER (WHERE waits) AS waiting,
       coalesce(range_agg(int8range(seq, seq, '[]')) FILTER (WHERE waits), '{}')::text AS waiting_seqs
FROM judged
