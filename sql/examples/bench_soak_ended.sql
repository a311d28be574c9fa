-- How many tasks are submitted, and how many of them have ended.
SELECT count(*), count(*) FILTER (WHERE status IN ('completed', 'cancelled', 'dead')) FROM tasks.task
