-- What is committed now.
SELECT pg_current_snapshot()::text
