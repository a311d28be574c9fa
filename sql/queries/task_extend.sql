-- Extends the leases of running tasks. Status and version stay the same, so this is no transition.
-- A locked row is skipped: its task is being ended or released at this moment.
WITH claimed AS (
    SELECT task.id
    FROM tasks.task
    JOIN unnest(%(ids)s::uuid[], %(versions)s::bigint[]) AS claim (id, version)
        ON claim.id = task.id AND claim.version = task.version
    WHERE task.status = 'running'
    ORDER BY task.id FOR NO KEY UPDATE OF task SKIP LOCKED
)
UPDATE tasks.task
SET lease_until = clock_timestamp() + make_interval(secs => %(lease)s)
FROM claimed WHERE task.id = claimed.id
RETURNING task.id
