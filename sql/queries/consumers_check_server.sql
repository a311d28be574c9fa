-- What `consumers check` looks at in its session and its server. Settings are in the units of pg_settings.
SELECT current_setting('server_version_num')::integer AS version_number, current_setting('server_version') AS version,
       pg_is_in_recovery() AS standby, current_setting('transaction_read_only')::boolean AS read_only,
       pg_backend_pid() AS pid, extract(epoch FROM clock_timestamp())::float8 AS clock, current_user::text AS role,
       (SELECT rolconnlimit FROM pg_roles WHERE rolname = current_user) AS role_limit,
       (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend') AS sessions,
       (SELECT count(*) FROM pg_stat_activity WHERE usename = current_user AND backend_type = 'client backend') AS role_sessions,
       (SELECT jsonb_object_agg(name, setting) FROM pg_settings WHERE name IN (
           'max_connections', 'superuser_reserved_connections', 'reserved_connections', 'statement_timeout',
           'idle_in_transaction_session_timeout', 'idle_session_timeout', 'transaction_timeout', 'synchronous_commit')) AS settings
