-- Submits a backlog of tasks, in one transaction. Returns how many.
SELECT count(tasks.submit(%(type)s, '{}'::jsonb)) FROM generate_series(1, %(tasks)s)
