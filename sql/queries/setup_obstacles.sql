-- Who holds up the session %(pid)s of setup: whoever has the lock that it waits for, whoever is making the slot, and
-- whoever holds up these. The last column tells whether it waits itself. Of other roles' sessions, only members of
-- pg_read_all_stats see since when and in which state. A blocker that is 0 is a prepared transaction: its locks have
-- no pid, and one of them is on its own id. https://www.postgresql.org/docs/current/view-pg-locks.html
WITH RECURSIVE held (pid) AS (
    SELECT blocker FROM (
        SELECT unnest(pg_blocking_pids(%(pid)s)) AS blocker
        UNION
        SELECT active_pid FROM pg_replication_slots
        WHERE slot_name = %(slot)s AND slot_type = 'logical' AND confirmed_flush_lsn IS NULL
    ) AS first WHERE blocker <> %(pid)s
    UNION
    SELECT blocker FROM held, unnest(pg_blocking_pids(held.pid)) AS blocker WHERE blocker <> %(pid)s
), wanted AS (
    SELECT * FROM pg_locks WHERE NOT granted AND (pid = %(pid)s OR pid IN (SELECT pid FROM held))
)
SELECT a.pid, NULL AS prepared, a.datname AS database, a.usename AS role, a.application_name, a.state,
       a.xact_start AS since, extract(epoch FROM clock_timestamp() - a.xact_start)::float8 AS seconds,
       cardinality(pg_blocking_pids(a.pid)) > 0 AS waits
FROM pg_stat_activity AS a JOIN held ON held.pid = a.pid
UNION ALL
SELECT NULL, p.gid, p.database, p.owner, NULL, 'prepared', p.prepared,
       extract(epoch FROM clock_timestamp() - p.prepared)::float8, false
FROM pg_prepared_xacts AS p
WHERE EXISTS (
    SELECT FROM pg_locks AS own
    JOIN pg_locks AS l ON l.pid IS NULL AND l.granted AND l.virtualtransaction = own.virtualtransaction
    JOIN wanted AS w
      ON (l.locktype, l.database, l.relation, l.transactionid, l.virtualxid, l.classid, l.objid, l.objsubid, l.page, l.tuple)
         IS NOT DISTINCT FROM
         (w.locktype, w.database, w.relation, w.transactionid, w.virtualxid, w.classid, w.objid, w.objsubid, w.page, w.tuple)
    WHERE own.pid IS NULL AND own.locktype = 'transactionid' AND own.transactionid = p.transaction
)
ORDER BY since NULLS LAST, pid
