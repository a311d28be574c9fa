-- The number of tasks in each status, in the order in which a task lives.
SELECT status, count(*) FROM tasks.task GROUP BY status
ORDER BY array_position(ARRAY['scheduled', 'pending', 'running', 'cancelling', 'failed', 'completed', 'cancelled', 'dead'], status)
