-- The task that has been pending for longest, of those that wait for a consumer.
SELECT id, type, updated_at, extract(epoch FROM clock_timestamp() - updated_at)::float8 AS seconds
FROM tasks.task WHERE status = 'pending' AND type <> 'demo.grab' ORDER BY updated_at LIMIT 1
