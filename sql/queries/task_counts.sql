-- How many tasks are in each status.
SELECT status, count(*) FROM tasks.task GROUP BY status ORDER BY status
