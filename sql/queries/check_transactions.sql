-- The open transactions that have an id, in all databases: a new slot waits for all of them, and an existing slot
-- retains the WAL since the oldest. Every role sees them in pg_locks; only their own role and members of
-- pg_read_all_stats see their age.
SELECT l.pid, NULL AS prepared, a.datname AS database, a.usename AS role, a.application_name, a.state,
       min(a.xact_start) AS since, extract(epoch FROM clock_timestamp() - min(a.xact_start))::float8 AS seconds,
       false AS waits
FROM pg_locks AS l LEFT JOIN pg_stat_activity AS a ON a.pid = l.pid
WHERE l.locktype = 'transactionid' AND l.mode = 'ExclusiveLock' AND l.granted AND l.pid IS NOT NULL
GROUP BY l.pid, a.datname, a.usename, a.application_name, a.state
UNION ALL
SELECT NULL, gid, database, owner, NULL, 'prepared', prepared,
       extract(epoch FROM clock_timestamp() - prepared)::float8, false
FROM pg_prepared_xacts
ORDER BY seconds DESC NULLS LAST
