-- The status of each task.
SELECT id::text, status FROM tasks.task
