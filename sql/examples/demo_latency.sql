-- Milliseconds from a task's commit to the commit of its completion, of tasks submitted since a time: the median, the 95th and
-- the 99th percentile. A task that failed at first is among them, with its wait for the next attempt. Rows of the history are
-- never updated, so their xmin is the transaction that wrote them.
-- https://www.postgresql.org/docs/current/runtime-config-replication.html#GUC-TRACK-COMMIT-TIMESTAMP
SELECT percentile_cont(ARRAY[0.5, 0.95, 0.99]) WITHIN GROUP (ORDER BY
           extract(epoch FROM pg_xact_commit_timestamp(ended.xmin) - pg_xact_commit_timestamp(submitted.xmin)) * 1000)
FROM tasks.history AS ended
JOIN tasks.history AS submitted ON submitted.task_id = ended.task_id AND submitted.version = 1
WHERE ended.to_status = 'completed' AND submitted.at >= %(since)s::timestamptz
