-- The current transaction's id, to ask for its outcome if the answer to COMMIT is lost.
SELECT pg_current_xact_id()
