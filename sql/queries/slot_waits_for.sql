-- Who holds up the making of a slot: the transactions that have an id, in every database, prepared ones too.
SELECT a.pid, NULL AS prepared, a.datname AS database, a.usename AS role, a.application_name, a.state,
       a.xact_start AS since, extract(epoch FROM clock_timestamp() - a.xact_start)::float8 AS seconds,
       cardinality(pg_blocking_pids(a.pid)) > 0 AS waits
FROM pg_locks AS l JOIN pg_stat_activity AS a ON a.pid = l.pid
WHERE l.locktype = 'transactionid' AND l.granted AND l.mode = 'ExclusiveLock'
  AND l.pid IS DISTINCT FROM (SELECT active_pid FROM pg_replication_slots WHERE slot_name = %(slot)s)
UNION ALL
SELECT NULL, p.gid, p.database, p.owner, NULL, 'prepared', p.prepared,
       extract(epoch FROM clock_timestamp() - p.prepared)::float8, false
FROM pg_prepared_xacts AS p
ORDER BY since NULLS LAST, pid
