-- Stores how far a replay is, and what RabbitMQ confirmed of it, or neither: nothing if this session does not have its lock.
-- Returns whether it did.
WITH saved AS (
    UPDATE relay.replay
    SET done_seq = coalesce(%(done_seq)s, done_seq), done_lsn = coalesce(%(done_lsn)s::pg_lsn, done_lsn),
        confirmed = %(confirmed)s, parked = %(parked)s, state = %(state)s, detail = %(detail)s,
        updated_at = clock_timestamp(), finished_at = CASE WHEN %(state)s = 'finished' THEN clock_timestamp() END
    WHERE job = %(job)s AND EXISTS (
        SELECT FROM pg_locks AS l
        WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1 AND l.pid = pg_backend_pid()
          AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
          AND (l.classid::bigint << 32) | l.objid::bigint = hashtextextended('relay.replay ' || %(job)s::bigint, 0))
    RETURNING relay.note_confirmed(relay, %(confirmed_seqs)s::bigint[], %(confirmed_ids)s::uuid[])
)
SELECT EXISTS (SELECT FROM saved)
