-- Completes one running task inside its handler's transaction; no row means that the claim is lost, and with it the
-- right to commit anything.
UPDATE tasks.task
SET status = 'completed', version = version + 1, lease_until = NULL, claimed_by = NULL,
    result = %(result)s::text::jsonb, last_error = NULL
WHERE id = %(id)s AND version = %(version)s AND status = 'running'
RETURNING version
