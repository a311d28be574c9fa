-- Makes due tasks pending, at most `limit` at a time, the earliest first, and announces each in the same transaction.
-- Returns how many. Several may do this at once: each skips rows that another locks. The database's clock is read once, in
-- a subquery, so that the index on run_at can be used.
WITH due AS (
    SELECT id FROM tasks.task
    WHERE status = 'scheduled' AND run_at <= (SELECT clock_timestamp())
    ORDER BY run_at LIMIT %(limit)s
    FOR NO KEY UPDATE SKIP LOCKED
), enqueued AS (
    UPDATE tasks.task SET status = 'pending', version = task.version + 1
    FROM due WHERE task.id = due.id
    RETURNING task.id, task.type, task.version, task.run_at
)
SELECT count(tasks.announce(id, type, version)) FROM (SELECT * FROM enqueued ORDER BY run_at) AS enqueued
