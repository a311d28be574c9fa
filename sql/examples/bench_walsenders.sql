-- The processes of the server that stream this database's WAL.
SELECT pid FROM pg_stat_activity WHERE backend_type = 'walsender' AND datname = current_database()
