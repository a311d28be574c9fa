-- How many dead tasks match, by type and by the first line of their reason, most first. The last row is the total.
SELECT type, left(split_part(last_error, E'\n', 1), 200) AS reason, count(*) AS tasks, min(updated_at) AS first, max(updated_at) AS last
FROM tasks.task
WHERE status = 'dead'
  AND (%(ids)s::uuid[] IS NULL OR id = ANY (%(ids)s::uuid[]))
  AND (%(types)s::text[] IS NULL OR type = ANY (%(types)s::text[]))
  AND (%(reason)s::text IS NULL OR coalesce(last_error, '') ILIKE %(reason)s::text)
  AND updated_at <= %(until)s::timestamptz
  AND (%(since)s::timestamptz IS NULL OR updated_at >= %(since)s::timestamptz)
GROUP BY GROUPING SETS ((type, left(split_part(last_error, E'\n', 1), 200)), ())
ORDER BY GROUPING(type), count(*) DESC, type, reason
