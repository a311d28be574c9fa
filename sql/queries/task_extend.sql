-- Extends the leases of claims, also of tasks that were asked to stop: their handlers run on until they notice (such a
-- row has the claim's version plus one). Status and version stay the same, so this is no transition.
-- A locked row is skipped: its task is being ended or released at this moment.
WITH claimed AS (
    SELECT task.id, task.version
    FROM tasks.task
    JOIN unnest(%(ids)s::uuid[], %(versions)s::bigint[]) AS claim (id, version)
        ON claim.id = task.id
       AND claim.version = CASE task.status WHEN 'running' THEN task.version WHEN 'cancelling' THEN task.version - 1 END
    ORDER BY task.id FOR NO KEY UPDATE OF task SKIP LOCKED
)
UPDATE tasks.task
SET lease_until = clock_timestamp() + make_interval(secs => %(lease)s)
FROM claimed WHERE task.id = claimed.id AND task.version = claimed.version
RETURNING task.id
