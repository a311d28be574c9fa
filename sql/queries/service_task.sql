-- One task, as the service shows it.
SELECT task.id, task.type, task.payload, task.status, task.version, task.attempts, task.max_attempts, task.run_at,
       task.lease_until, task.claimed_by, task.last_error, task.result, task.created_at, task.updated_at
FROM tasks.task WHERE task.id = %(id)s
