-- Returns wal_sender_timeout in milliseconds as it is for this session: a setting of the role or the database wins.
SELECT setting::integer FROM pg_settings WHERE name = 'wal_sender_timeout'
