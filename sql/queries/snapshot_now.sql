-- What is visible now.
SELECT pg_current_snapshot()::text
