-- How many tasks are in each status, by type. It reads the whole table: only for a small one.
SELECT status, type, count(*) FROM tasks.task GROUP BY status, type ORDER BY status, count(*) DESC, type
