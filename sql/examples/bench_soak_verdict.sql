-- What must be: no task ran twice at one version; a completed one ran at the version before its last; a dead one was tried as
-- often as allowed. And how many runs there were, and how many of them ended without completing their task.
WITH runs AS (SELECT task_id, version, count(*) AS times FROM bench.run GROUP BY task_id, version)
SELECT (SELECT count(*) FROM runs WHERE times > 1) AS twice,
       (SELECT count(*) FROM tasks.task WHERE status = 'completed' AND NOT EXISTS (
            SELECT FROM runs WHERE runs.task_id = task.id AND runs.version = task.version - 1)) AS completed_without_run,
       (SELECT count(*) FROM tasks.task WHERE status = 'dead' AND attempts < max_attempts) AS dead_too_early,
       (SELECT count(*) FROM bench.run) AS runs,
       (SELECT count(*) FROM tasks.history WHERE to_status = 'failed') AS failures,
       (SELECT count(*) FROM tasks.history WHERE from_status = 'cancelling') AS cancelled_while_running
