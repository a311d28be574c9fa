-- The pid of the session that runs this. A connection pooler gives another one at login.
SELECT pg_backend_pid()
