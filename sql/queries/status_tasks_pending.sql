-- The task that has been pending for longest.
SELECT id, type, updated_at, extract(epoch FROM clock_timestamp() - updated_at)::float8 AS seconds
FROM tasks.task WHERE status = 'pending' ORDER BY updated_at LIMIT 1
