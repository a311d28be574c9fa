-- How many tasks have their event: each request writes both, or neither.
SELECT count(*) FROM tasks.task JOIN outbox.event ON aggregate_id = task.id::text AND aggregate_version = 1
