-- How many tasks are committed, and how many of them are completed.
SELECT count(*), count(*) FILTER (WHERE status = 'completed') FROM tasks.task
