-- Ends claims whose lease has run out, at most `limit` at a time: pending and announced again, dead after the last attempt,
-- or cancelled. The function locks each row and names its version (sql/schema/012_states.sql).
SELECT id, claimed_by, status FROM tasks.end_expired_claims(%(limit)s)
