-- Takes the lock of a replay, unless another session has it; a session that has it keeps it. Returns the job as it is stored,
-- and who has it otherwise.
WITH held AS (
    SELECT l.pid
    FROM pg_locks AS l
    WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
      AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND (l.classid::bigint << 32) | l.objid::bigint = hashtextextended('relay.replay ' || %(job)s::bigint, 0)
), mine AS MATERIALIZED (
    SELECT CASE WHEN EXISTS (SELECT FROM held WHERE pid = pg_backend_pid()) THEN true
                ELSE pg_try_advisory_lock(hashtextextended('relay.replay ' || %(job)s::bigint, 0)) END AS taken
)
SELECT mine.taken, r.state, r.done_seq, r.done_lsn::text AS done_lsn, held.pid AS holder_pid, a.application_name AS holder_name,
       host(a.client_addr) AS holder_address
FROM mine JOIN relay.replay AS r ON r.job = %(job)s
LEFT JOIN held ON NOT mine.taken LEFT JOIN pg_stat_activity AS a ON a.pid = held.pid
LIMIT 1
