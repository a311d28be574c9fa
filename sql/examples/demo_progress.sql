-- The number of committed tasks, and of completed ones.
SELECT count(*), count(*) FILTER (WHERE status = 'completed') FROM tasks.task
