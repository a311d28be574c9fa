-- Releases claims whose lease has expired, at most `limit` at a time: running -> pending, announced in the same
-- transaction, so that the task runs again. Several consumers may do this at once: each skips rows that another locks.
-- The database's clock is read once, in a subquery, so that the index on lease_until can be used.
WITH expired AS (
    SELECT id, claimed_by FROM tasks.task
    WHERE status = 'running' AND lease_until < (SELECT clock_timestamp())
    ORDER BY lease_until LIMIT %(limit)s
    FOR NO KEY UPDATE SKIP LOCKED
), released AS (
    UPDATE tasks.task
    SET status = 'pending', version = task.version + 1, lease_until = NULL, claimed_by = NULL
    FROM expired WHERE task.id = expired.id
    RETURNING task.id, task.type, task.version, expired.claimed_by
)
SELECT id, claimed_by, tasks.announce(id, type, version) AS announced FROM released
