-- The ids of some pending tasks, from all over the table.
SELECT id FROM tasks.task WHERE status = 'pending' ORDER BY hashtext(id::text) LIMIT %(tasks)s
