-- One task, as the service shows it: `shown` is JSON text, which nobody parses on its way to the client.
SELECT shown.id, shown.type, shown.version, row_to_json(shown)::text AS shown
FROM (
    SELECT id, type, payload, status, version, attempts, max_attempts, run_at, lease_until, claimed_by, last_error, result,
           created_at, updated_at
    FROM tasks.task WHERE id = %(id)s
) AS shown
