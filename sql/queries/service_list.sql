-- A page of tasks, the newest first: those before (`before_at`, `before_id`), or the first page if that is NULL.
SELECT task.id, task.type, task.payload, task.status, task.version, task.attempts, task.max_attempts, task.run_at,
       task.lease_until, task.claimed_by, task.last_error, task.result, task.created_at, task.updated_at
FROM tasks.task
WHERE (%(before_at)s::timestamptz IS NULL OR (task.created_at, task.id) < (%(before_at)s, %(before_id)s::uuid))
  AND (%(statuses)s::text[] IS NULL OR task.status = ANY (%(statuses)s))
  AND (%(type)s::text IS NULL OR task.type = %(type)s)
  AND (%(created_before)s::timestamptz IS NULL OR task.created_at < %(created_before)s)
  AND (%(created_after)s::timestamptz IS NULL OR task.created_at >= %(created_after)s)
ORDER BY task.created_at DESC, task.id DESC
LIMIT %(limit)s
