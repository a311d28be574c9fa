-- Milliseconds from each task's submission to its completion, from commit to commit. Neither row is updated any more, so
-- its xmin is the transaction that wrote it.
-- https://www.postgresql.org/docs/current/runtime-config-replication.html#GUC-TRACK-COMMIT-TIMESTAMP
SELECT extract(epoch FROM pg_xact_commit_timestamp(task.xmin) - pg_xact_commit_timestamp(event.xmin))::float8 * 1000
FROM tasks.task JOIN outbox.event ON event.aggregate_id = task.id::text AND event.aggregate_version = 1
WHERE task.status = 'completed'
