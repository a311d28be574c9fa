-- Tasks to look at.
SELECT id::text FROM tasks.task ORDER BY created_at LIMIT %(limit)s
