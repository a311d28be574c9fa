-- Scheduled jobs run once although several consumers have them: who begins a job takes the lock of its name, which is a row
-- that ends by itself.
--
-- All times are the database's: clock_timestamp(), which goes on within a transaction, and never a client's clock. Nobody
-- has rights on the table but to read it: these functions are the only writers, so the rules below hold for programs in any
-- language. Each call is to be a transaction of its own: until it has committed, others wait for it.

-- Epochs come from a sequence, since a release removes the row: a counter in the row would begin again.
CREATE SEQUENCE tasks.lock_epoch AS bigint;

CREATE TABLE tasks.lock (
    name         text        PRIMARY KEY,
    started_at   timestamptz NOT NULL,
    locked_until timestamptz NOT NULL,
    locked_by    text        NOT NULL,
    epoch        bigint      NOT NULL,
    ended_at     timestamptz,
    CONSTRAINT "a lock ends after it has begun" CHECK (locked_until >= started_at),
    CONSTRAINT "a lock has a name of 1 to 200 characters" CHECK (length(name) BETWEEN 1 AND 200),
    CONSTRAINT "a lock has a holder" CHECK (locked_by <> '')
) WITH (fillfactor = 50);  -- updated many times, in place: no index has a column that changes

COMMENT ON TABLE tasks.lock IS 'Locks of scheduled jobs. A row whose locked_until has passed is free.';
COMMENT ON COLUMN tasks.lock.started_at IS 'When its holder took it.';
COMMENT ON COLUMN tasks.lock.locked_until IS 'Until when nobody else gets it.';
COMMENT ON COLUMN tasks.lock.epoch IS
    'Grows with each time that a lock is taken: whoever stores it with what a job writes can refuse the writes of an earlier holder.';
COMMENT ON COLUMN tasks.lock.ended_at IS
    'When its holder was done; the row stays until locked_until, so that the job does not run again before.';

-- Takes the lock `name` for at most `at_most` if it is free. Returns one row: the lock as it is afterwards, `acquired` if it
-- is the caller's now, and for how long it has been held. `locked_by` names the caller to people.
--
-- One upsert decides. The lock is read before, since an upsert that changes nothing would still lock the row, which is a write
-- and a flush: who finds the lock held writes nothing.
--
-- The epoch is drawn while the row is locked, so that a later holder has a greater one. For a new row it is drawn again after
-- the insert: the first was drawn before, and the insert may have waited until another holder came and went.
CREATE FUNCTION tasks.acquire_lock(name text, at_most interval, locked_by text DEFAULT NULL)
RETURNS TABLE (acquired boolean, epoch bigint, started_at timestamptz, locked_until timestamptz, held_by text,
               held_for interval, ended_at timestamptz)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    holder text := coalesce(locked_by, format('%s, process %s', session_user, pg_backend_pid()));
    made   boolean;
BEGIN
    IF at_most IS NULL OR at_most <= interval '0' THEN
        RAISE EXCEPTION 'lock %: at_most is %, and must be longer than nothing', name, coalesce(at_most::text, 'NULL')
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Give the longest time that its holder may need.';
    END IF;
    LOOP
        RETURN QUERY
            SELECT false, l.epoch, l.started_at, l.locked_until, l.locked_by, clock_timestamp() - l.started_at, l.ended_at
            FROM tasks.lock AS l WHERE l.name = acquire_lock.name AND l.locked_until > clock_timestamp();
        EXIT WHEN FOUND;
        INSERT INTO tasks.lock AS l (name, started_at, locked_until, locked_by, epoch)
        VALUES (acquire_lock.name, clock_timestamp(), clock_timestamp() + at_most, holder, nextval('tasks.lock_epoch'))
        ON CONFLICT ON CONSTRAINT lock_pkey DO UPDATE
        SET started_at = clock_timestamp(), locked_until = clock_timestamp() + at_most, locked_by = holder,
            epoch = nextval('tasks.lock_epoch'), ended_at = NULL
        WHERE l.locked_until <= clock_timestamp()
        RETURNING l.xmax = 0 INTO made;
        IF made THEN
            UPDATE tasks.lock AS l
            SET started_at = clock_timestamp(), locked_until = clock_timestamp() + at_most,
                epoch = nextval('tasks.lock_epoch')
            WHERE l.name = acquire_lock.name;
        END IF;
        IF made IS NOT NULL THEN  -- else somebody else was first
            RETURN QUERY
                SELECT true, l.epoch, l.started_at, l.locked_until, l.locked_by, interval '0', l.ended_at
                FROM tasks.lock AS l WHERE l.name = acquire_lock.name;
            EXIT;
        END IF;
    END LOOP;
END $$;

-- Ends the lock that was taken with `epoch`, and returns whether it was still that one. If `at_least` has passed since it was
-- taken, its row is removed; else the row stays until then, so that the job does not run again too early.
CREATE FUNCTION tasks.release_lock(name text, epoch bigint, at_least interval DEFAULT '0') RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    DELETE FROM tasks.lock AS l
    WHERE l.name = release_lock.name AND l.epoch = release_lock.epoch
      AND l.started_at + greatest(at_least, '0') <= clock_timestamp();
    IF FOUND THEN
        RETURN true;
    END IF;
    UPDATE tasks.lock AS l
    SET locked_until = least(l.locked_until, l.started_at + greatest(at_least, '0')), ended_at = clock_timestamp()
    WHERE l.name = release_lock.name AND l.epoch = release_lock.epoch;
    RETURN FOUND;
END $$;

-- Holds the lock that was taken with `epoch` for `at_most` from now on. Returns until when, or NULL if somebody else took it.
CREATE FUNCTION tasks.extend_lock(name text, epoch bigint, at_most interval) RETURNS timestamptz
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    UPDATE tasks.lock AS l SET locked_until = clock_timestamp() + at_most
    WHERE l.name = extend_lock.name AND l.epoch = extend_lock.epoch AND l.ended_at IS NULL
    RETURNING l.locked_until;
$$;

-- Takes a lock away, whoever has it; for operators. Returns what was taken; no row if nobody had it.
CREATE FUNCTION tasks.free_lock(name text)
RETURNS TABLE (locked_by text, started_at timestamptz, locked_until timestamptz, epoch bigint, ended_at timestamptz)
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    DELETE FROM tasks.lock AS l WHERE l.name = free_lock.name AND l.locked_until > clock_timestamp()
    RETURNING l.locked_by, l.started_at, l.locked_until, l.epoch, l.ended_at;
$$;

-- For the job that makes due tasks pending, and for the one that removes tasks that have ended. Each costs the writes that it
-- is about one entry; the second grows at its right end only, since times do.
CREATE INDEX task_due ON tasks.task (run_at) WHERE status = 'scheduled';
CREATE INDEX task_ended ON tasks.task (updated_at) WHERE status IN ('completed', 'cancelled');

-- Removes at most `batch` tasks that ended more than `keep` ago, the oldest first, and returns how many. Only those for which
-- there is no way on are removed: a dead task waits for somebody who looks at it. A consumer may remove no others, so it
-- has no right to delete but this.
CREATE FUNCTION tasks.prune_tasks(keep interval, batch integer DEFAULT 1000) RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    WITH ended AS (
        SELECT t.id FROM tasks.task AS t
        WHERE t.status IN ('completed', 'cancelled') AND t.updated_at < (SELECT clock_timestamp() - keep)
        ORDER BY t.updated_at LIMIT batch
        FOR UPDATE SKIP LOCKED
    ), removed AS (
        DELETE FROM tasks.task AS t USING ended WHERE t.id = ended.id RETURNING t.id
    )
    SELECT count(*) FROM removed;
$$;
