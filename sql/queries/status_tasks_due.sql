-- The scheduled task that is due next, and in how many seconds; negative if it is over.
SELECT id, type, run_at, extract(epoch FROM run_at - clock_timestamp())::float8 AS seconds
FROM tasks.task WHERE status = 'scheduled' ORDER BY run_at LIMIT 1
