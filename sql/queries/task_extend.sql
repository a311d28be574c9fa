-- Extends the leases of running claims; status and version stay, so this is no transition.
-- A row that is locked is being settled or released at this moment, and is passed over.
WITH held AS (
    SELECT task.id
    FROM tasks.task
    JOIN unnest(%(ids)s::uuid[], %(versions)s::bigint[]) AS claim (id, version)
        ON claim.id = task.id AND claim.version = task.version
    WHERE task.status = 'running'
    ORDER BY task.id FOR NO KEY UPDATE OF task SKIP LOCKED
)
UPDATE tasks.task
SET lease_until = clock_timestamp() + make_interval(secs => %(lease)s)
FROM held WHERE task.id = held.id
RETURNING task.id
