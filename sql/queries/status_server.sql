-- The server and the database, the end of the WAL, how many relays of this name are connected (each has one session with
-- the application name below), which of them is the active one (its session has the lock of sql/queries/leader_take.sql),
-- or, where several share it, one of them and how many there are; and which of the relay's tables exist and may be read.
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
       leader.pid AS leader_pid, leader.application_name AS leader_name, leader.backend_start AS leader_since,
       host(leader.client_addr) AS leader_address, coalesce(leader.active, 0) AS active,
       'relay.checkpoint' IN (SELECT name FROM tables) AS has_checkpoint,
       'relay.parked' IN (SELECT name FROM tables)     AS has_parked,
       'outbox.event' IN (SELECT name FROM tables)     AS has_outbox
FROM (SELECT) AS one
LEFT JOIN (
    SELECT a.pid, a.application_name, a.backend_start, a.client_addr, count(*) OVER () AS active
    FROM pg_locks AS l JOIN pg_stat_activity AS a ON a.pid = l.pid
    WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
      AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND (l.classid::bigint << 32) | l.objid::bigint = hashtextextended('outbox-relay ' || %(name)s, 0)
    ORDER BY a.backend_start LIMIT 1
) AS leader ON true
