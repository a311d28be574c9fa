-- Pins the text forms of values for a session that streams, or that reads what the relay would read. It runs after the login,
-- since a client's PGTZ, PGDATESTYLE and PGCLIENTENCODING win over options:
-- https://www.postgresql.org/docs/current/libpq-envars.html
-- Warnings are sent: from PostgreSQL 18 on, one says that changes are left out, since pgoutput's publication is missing.
SELECT set_config('bytea_output', 'hex', false),
       set_config('DateStyle', 'ISO', false),
       set_config('TimeZone', 'UTC', false),
       set_config('IntervalStyle', 'iso_8601', false),
       set_config('extra_float_digits', '1', false),
       set_config('client_encoding', 'UTF8', false),
       set_config('client_min_messages', 'warning', false)
