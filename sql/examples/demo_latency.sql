-- Milliseconds from a task's commit to its effect's commit, of tasks submitted since a time: the median, the 95th and the
-- 99th percentile. A task that failed at first is among them, with its wait for the next attempt. Event rows and
-- effect rows are never updated, so their xmin is the transaction that wrote them.
-- https://www.postgresql.org/docs/current/runtime-config-replication.html#GUC-TRACK-COMMIT-TIMESTAMP
SELECT percentile_cont(ARRAY[0.5, 0.95, 0.99]) WITHIN GROUP (ORDER BY
           extract(epoch FROM pg_xact_commit_timestamp(effect.xmin) - pg_xact_commit_timestamp(event.xmin)) * 1000)
FROM demo.effect
JOIN outbox.event ON event.aggregate_id = effect.task_id::text AND event.aggregate_version = 1
WHERE event.created_at >= %(since)s::timestamptz
