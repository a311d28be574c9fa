-- A page of tasks, the newest first: those before (`before_at`, `before_id`), or the first page if that is NULL.
SELECT shown.id, shown.type, shown.created_at, row_to_json(shown)::text AS shown
FROM (
    SELECT id, type, payload, status, version, attempts, max_attempts, run_at, lease_until, claimed_by, last_error, result,
           created_at, updated_at
    FROM tasks.task
    WHERE (%(before_at)s::timestamptz IS NULL OR (created_at, id) < (%(before_at)s, %(before_id)s::uuid))
      AND (%(statuses)s::text[] IS NULL OR status = ANY (%(statuses)s))
      AND (%(type)s::text IS NULL OR type = %(type)s)
      AND (%(created_before)s::timestamptz IS NULL OR created_at < %(created_before)s)
      AND (%(created_after)s::timestamptz IS NULL OR created_at >= %(created_after)s)
    ORDER BY created_at DESC, id DESC
    LIMIT %(limit)s
) AS shown
ORDER BY shown.created_at DESC, shown.id DESC
