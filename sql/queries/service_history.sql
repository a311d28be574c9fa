-- The same with its transitions in their order; `dropped` is how many before each are no longer there.
SELECT shown.id, shown.type, shown.version, row_to_json(shown)::text AS shown
FROM (
    SELECT id, type, payload, status, version, attempts, max_attempts, run_at, lease_until, claimed_by, last_error, result,
           created_at, updated_at,
           (SELECT coalesce(json_agg(change ORDER BY change.version), '[]') FROM tasks.history_of(task.id) AS change) AS history
    FROM tasks.task WHERE id = %(id)s
) AS shown
