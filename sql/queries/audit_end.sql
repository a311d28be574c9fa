-- Ends what audit_begin.sql has begun.
COMMIT
