-- A page of tasks, the newest first: those before (`before_at`, `before_id`), or the first page if that is NULL. It has at most
-- `limit` tasks, and of those at most `bytes` in payloads, results and errors; one task in any case. `found` is how many there
-- are for it, of `limit` + 1: if more than were returned, another page follows.
SELECT page.id, page.type, page.created_at, page.found,
       (SELECT row_to_json(shown) FROM (
           SELECT page.id, page.type, page.payload, page.status, page.version, page.attempts, page.max_attempts, page.run_at,
                  page.lease_until, page.claimed_by, page.last_error, page.result, page.created_at, page.updated_at
       ) AS shown)::text AS shown
FROM (
    SELECT task.*, count(*) OVER () AS found, row_number() OVER newest AS place,
           sum(octet_length(payload::text) + coalesce(octet_length(result::text), 0) + coalesce(octet_length(last_error), 0))
               OVER newest AS so_far
    FROM (
        SELECT *
        FROM tasks.task
        WHERE (%(before_at)s::timestamptz IS NULL OR (created_at, id) < (%(before_at)s, %(before_id)s::uuid))
          AND (%(statuses)s::text[] IS NULL OR status = ANY (%(statuses)s))
          AND (%(type)s::text IS NULL OR type = %(type)s)
          AND (%(created_before)s::timestamptz IS NULL OR created_at < %(created_before)s)
          AND (%(created_after)s::timestamptz IS NULL OR created_at >= %(created_after)s)
        ORDER BY created_at DESC, id DESC
        LIMIT %(limit)s + 1
    ) AS task
    WINDOW newest AS (ORDER BY created_at DESC, id DESC ROWS UNBOUNDED PRECEDING)
) AS page
WHERE place = 1 OR place <= %(limit)s AND so_far <= %(bytes)s
ORDER BY page.created_at DESC, page.id DESC
