-- Whether this session is the one among several active pollers that publishes redriven events.
SELECT CASE WHEN EXISTS (
    SELECT FROM pg_locks AS l
    WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1 AND l.pid = pg_backend_pid()
      AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND (l.classid::bigint << 32) | l.objid::bigint = hashtextextended('outbox-relay redrives ' || %(name)s, 0))
THEN true ELSE pg_try_advisory_lock(hashtextextended('outbox-relay redrives ' || %(name)s, 0)) END
