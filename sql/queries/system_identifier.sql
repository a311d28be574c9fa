-- The identifier of the server's data directory, which its standbys share.
SELECT system_identifier::text FROM pg_control_system()
