-- The server and the database, the end of the WAL, how many relays of this name are connected (each has one session with
-- the application name below), and which of the relay's tables exist and may be read.
WITH tables AS (
    SELECT n.nspname || '.' || c.relname AS name
    FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE n.nspname IN ('relay', 'outbox') AND has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT')
)
SELECT (CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END)::text AS current_lsn,
       clock_timestamp() AS at,
       current_database() AS database,
       (SELECT system_identifier::text FROM pg_control_system()) AS system,
       (SELECT count(*) FROM pg_stat_activity
        WHERE datname = current_database() AND application_name = %(name)s || ' checkpoint') AS relays,
       'relay.checkpoint' IN (SELECT name FROM tables) AS has_checkpoint,
       'relay.parked' IN (SELECT name FROM tables)     AS has_parked,
       'outbox.event' IN (SELECT name FROM tables)     AS has_outbox
