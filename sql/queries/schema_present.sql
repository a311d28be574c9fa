-- Which of these schemas exist.
SELECT nspname FROM pg_namespace WHERE nspname = ANY(%(schemas)s)
