-- How many tasks of each type wait for a handler.
SELECT type, count(*) AS tasks FROM tasks.task WHERE status IN ('pending', 'scheduled') GROUP BY type ORDER BY type
