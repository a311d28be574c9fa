-- The role of the active relay: of the session that has the lock of sql/queries/leader_take.sql.
SELECT a.usename::text AS role
FROM pg_locks AS l JOIN pg_stat_activity AS a ON a.pid = l.pid
WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND (l.classid::bigint << 32) | l.objid::bigint = hashtextextended('outbox-relay ' || %(name)s, 0)
LIMIT 1
