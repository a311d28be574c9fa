-- Takes the lock of the active relay, unless another session has it; a session that has it keeps it. Several active pollers
-- share it (`shared`). Returns whether this session has it, this session's process, and who else has it.
-- https://www.postgresql.org/docs/current/functions-admin.html#FUNCTIONS-ADVISORY-LOCKS
WITH lock AS (
    SELECT hashtextextended('outbox-relay ' || %(name)s, 0) AS key
), held AS (
    SELECT l.pid
    FROM lock, pg_locks AS l
    WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
      AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND (l.classid::bigint << 32) | l.objid::bigint = key
), mine AS MATERIALIZED (
    SELECT CASE WHEN EXISTS (SELECT FROM held WHERE pid = pg_backend_pid()) THEN true
                WHEN %(shared)s THEN (SELECT pg_try_advisory_lock_shared(key) FROM lock)
                ELSE (SELECT pg_try_advisory_lock(key) FROM lock) END AS taken
)
SELECT mine.taken, pg_backend_pid() AS pid, held.pid AS holder_pid, a.application_name AS holder_name,
       a.backend_start AS holder_since, host(a.client_addr) AS holder_address
FROM mine LEFT JOIN held ON NOT mine.taken LEFT JOIN pg_stat_activity AS a ON a.pid = held.pid
LIMIT 1
