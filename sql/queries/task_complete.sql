-- Completes one running task inside its handler's transaction. No row means that the claim is lost: the transaction must
-- be rolled back.
UPDATE tasks.task
SET status = 'completed', version = version + 1, lease_until = NULL, claimed_by = NULL,
    result = %(result)s::text::jsonb, last_error = NULL, updated_at = clock_timestamp()
WHERE id = %(id)s AND version = %(version)s AND status = 'running'
RETURNING version
