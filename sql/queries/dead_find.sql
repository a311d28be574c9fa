-- Dead tasks that match, those that died first first, behind the one that died at `after` with the id `after_id`. `reason` is
-- a LIKE pattern. The times are read once, so that the index on dead tasks can be used.
SELECT id, type, attempts, max_attempts, left(last_error, 1000) AS last_error, created_at, updated_at AS died_at
FROM tasks.task
WHERE status = 'dead'
  AND (%(ids)s::uuid[] IS NULL OR id = ANY (%(ids)s::uuid[]))
  AND (%(types)s::text[] IS NULL OR type = ANY (%(types)s::text[]))
  AND (%(reason)s::text IS NULL OR coalesce(last_error, '') ILIKE %(reason)s::text)
  AND updated_at <= %(until)s::timestamptz
  AND (%(since)s::timestamptz IS NULL OR updated_at >= %(since)s::timestamptz)
  AND (updated_at, id) > (coalesce(%(after)s::timestamptz, '-infinity'), coalesce(%(after_id)s::uuid, '00000000-0000-0000-0000-000000000000'))
ORDER BY updated_at, id LIMIT %(limit)s
