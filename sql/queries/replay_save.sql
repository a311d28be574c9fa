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
    RETURNING relay
), noted AS (
    INSERT INTO relay.confirmed (relay, seqs, ids, ids_hash)
    SELECT (SELECT relay FROM saved), range_agg(int8range(seq, seq, '[]')), array_agg(id ORDER BY seq),
           sum(hashtextextended(id::text, 0)::numeric)
    FROM (SELECT DISTINCT ON (seq) seq, id::uuid AS id
          FROM unnest(%(confirmed_seqs)s::bigint[], %(confirmed_ids)s::text[]) AS given (seq, id)
          -- A redriven event of another outbox has any text as its id; the relay publishes it, and nothing is to be proved by it.
          WHERE id ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
          ORDER BY seq) AS confirmed
    WHERE EXISTS (SELECT FROM saved)
    HAVING count(*) > 0
)
SELECT EXISTS (SELECT FROM saved)
