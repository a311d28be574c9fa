-- One task as it is stored, its payload and result as text.
SELECT id, type, status, version, attempts, max_attempts, last_error, payload::text AS payload, result::text AS result,
       created_at, updated_at, run_at, lease_until, claimed_by
FROM tasks.task WHERE id = %(id)s
