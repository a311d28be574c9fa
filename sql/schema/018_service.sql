-- For the task submission service (`writers serve`), and for its locking demo.

-- Lists, the newest first, page by page. Each submission writes one entry more, at the right end of the index.
CREATE INDEX task_created ON tasks.task (created_at, id);

-- One request, one task: a request that is repeated gets the task that the first one made.
CREATE TABLE tasks.request (
    key     text        PRIMARY KEY CONSTRAINT "key must have 1 to 255 characters" CHECK (length(key) BETWEEN 1 AND 255),
    digest  text        NOT NULL,
    task_id uuid        NOT NULL,
    at      timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX request_age ON tasks.request (at);  -- to prune it
COMMENT ON TABLE tasks.request IS 'Requests that made a task, by the key that their sender gave them.';
COMMENT ON COLUMN tasks.request.digest IS 'What was asked for: the same key with another digest is another request.';
COMMENT ON COLUMN tasks.request.task_id IS 'The task that it made; it may have been removed since.';

-- Submits a task unless `key` has made one: `made` tells. A transaction waits for another one with the same key to end; after
-- 2 s it fails (55P03), so that one that stays open holds up no session of the service.
-- `same` is false if that was another request: then nothing is written, and task_id is the first one's.
CREATE FUNCTION tasks.submit_once(
    key text, digest text, type text, payload jsonb, max_attempts integer, headers jsonb, id uuid, run_at timestamptz,
    OUT task_id uuid, OUT made boolean, OUT same boolean)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s'
AS $$
DECLARE
    known tasks.request;
BEGIN
    LOOP
        INSERT INTO tasks.request (key, digest, task_id) VALUES (submit_once.key, submit_once.digest, submit_once.id)
        ON CONFLICT ON CONSTRAINT request_pkey DO NOTHING;
        IF FOUND THEN
            task_id := tasks.submit(type, payload, max_attempts, headers, id, run_at);
            made := true;
            same := true;
            RETURN;
        END IF;
        SELECT * INTO known FROM tasks.request AS request WHERE request.key = submit_once.key;
        IF known.key IS NOT NULL THEN  -- else it was pruned at this moment
            task_id := known.task_id;
            made := false;
            same := known.digest = submit_once.digest;
            RETURN;
        END IF;
    END LOOP;
END $$;

-- Removes at most `batch` requests that are older than `keep`, and returns how many: their keys make tasks again.
CREATE FUNCTION tasks.prune_requests(keep interval, batch integer DEFAULT 1000) RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    WITH old AS (
        SELECT key FROM tasks.request WHERE at < (SELECT clock_timestamp() - keep) ORDER BY at LIMIT batch
        FOR UPDATE SKIP LOCKED
    ), removed AS (
        DELETE FROM tasks.request USING old WHERE request.key = old.key RETURNING request.key
    )
    SELECT count(*) FROM removed
$$;

-- tasks.cancel, with `expected` only if that is the task's version. It returns whether it changed the task, and the task's
-- status and version afterwards; they are NULL if there is no such task. It fails (55P03) if another transaction has the task's
-- row locked for longer than 2 s.
CREATE FUNCTION tasks.try_cancel(id uuid, expected bigint, OUT changed boolean, OUT status text, OUT version bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s'
AS $$
DECLARE
    target text;
BEGIN
    changed := false;
    LOOP
        SELECT task.status, task.version INTO try_cancel.status, try_cancel.version
        FROM tasks.task AS task WHERE task.id = try_cancel.id;
        target := CASE WHEN try_cancel.status IN ('pending', 'scheduled') THEN 'cancelled'
                       WHEN try_cancel.status = 'running' THEN 'cancelling' END;
        IF target IS NULL OR try_cancel.version <> expected THEN
            RETURN;
        END IF;
        UPDATE tasks.task AS task SET status = target, version = task.version + 1
        WHERE task.id = try_cancel.id AND task.version = try_cancel.version
        RETURNING task.status, task.version INTO try_cancel.status, try_cancel.version;
        IF FOUND THEN
            changed := true;
            RETURN;
        END IF;
    END LOOP;
END $$;

-- The same for tasks.reschedule.
CREATE FUNCTION tasks.try_reschedule(
    id uuid, run_at timestamptz, expected bigint, OUT changed boolean, OUT status text, OUT version bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s'
AS $$
BEGIN
    changed := false;
    LOOP
        SELECT task.status, task.version INTO try_reschedule.status, try_reschedule.version
        FROM tasks.task AS task WHERE task.id = try_reschedule.id;
        IF try_reschedule.status IS NULL OR try_reschedule.status NOT IN ('pending', 'scheduled')
            OR try_reschedule.version <> expected
        THEN
            RETURN;
        END IF;
        UPDATE tasks.task AS task SET status = 'scheduled', version = task.version + 1, run_at = try_reschedule.run_at
        WHERE task.id = try_reschedule.id AND task.version = try_reschedule.version
        RETURNING task.status, task.version INTO try_reschedule.status, try_reschedule.version;
        IF FOUND THEN
            changed := true;
            RETURN;
        END IF;
    END LOOP;
END $$;

-- The locking demo: tasks of one type, which no message announces and no consumer takes. A grab holds its task's row locked
-- while it works.
CREATE INDEX task_demo ON tasks.task (created_at, id) WHERE type = 'demo.grab' AND status = 'pending';

CREATE FUNCTION tasks.demo_create(number integer) RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    WITH made AS (
        INSERT INTO tasks.task (type, payload)
        SELECT 'demo.grab', jsonb_build_object('number', each) FROM generate_series(1, number) AS each
        RETURNING id
    )
    SELECT count(*) FROM made
$$;

-- What others can see while a grab is not committed: an advisory lock, which Postgres releases when the transaction ends,
-- however it ends. It has 64 bits, so two tasks hardly ever have the same one; the second grab would then wait for the first.
CREATE FUNCTION tasks.demo_lock(id uuid) RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
RETURN ('x' || left(md5('demo.grab ' || id::text), 16))::bit(64)::bigint;

-- Claims the oldest pending task for `instance`, and holds its row until the transaction ends; no row if none is left.
-- Without `skip_locked` it waits for the oldest one's holder, as a query without SKIP LOCKED does: when that has committed,
-- the row is no longer pending, and the next one is looked for. A grab whose client or host has vanished is rolled back after
-- 90 s without a statement, which is longer than the service lets a grab work (60 s).
CREATE FUNCTION tasks.demo_grab(instance text, skip_locked boolean)
RETURNS TABLE (id uuid, payload jsonb, version bigint, created_at timestamptz)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    oldest uuid;
BEGIN
    LOOP
        IF skip_locked THEN
            SELECT task.id INTO oldest FROM tasks.task AS task WHERE task.type = 'demo.grab' AND task.status = 'pending'
            ORDER BY task.created_at, task.id LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED;
        ELSE
            SELECT task.id INTO oldest FROM tasks.task AS task WHERE task.type = 'demo.grab' AND task.status = 'pending'
            ORDER BY task.created_at, task.id LIMIT 1 FOR NO KEY UPDATE;
        END IF;
        EXIT WHEN oldest IS NOT NULL;
        IF skip_locked OR NOT EXISTS (
            SELECT FROM tasks.task AS task WHERE task.type = 'demo.grab' AND task.status = 'pending')
        THEN
            RETURN;
        END IF;
    END LOOP;
    PERFORM set_config('idle_in_transaction_session_timeout', '90s', true);
    PERFORM pg_advisory_xact_lock(tasks.demo_lock(oldest));
    RETURN QUERY
        UPDATE tasks.task AS task
        SET status = 'running', version = task.version + 1, attempts = task.attempts + 1, claimed_by = instance,
            lease_until = clock_timestamp() + interval '1 hour', updated_at = clock_timestamp()
        WHERE task.id = oldest
        RETURNING task.id, task.payload, task.version, task.created_at;
END $$;

-- Completes a task of the demo that is at `version`, and returns its new version; NULL if there is none. The version that a
-- grab has made is known to its own transaction only, until that commits.
CREATE FUNCTION tasks.demo_complete(id uuid, version bigint) RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    UPDATE tasks.task AS task
    SET status = 'completed', version = task.version + 1, claimed_by = NULL, lease_until = NULL,
        result = jsonb_build_object('grabbed_by', task.claimed_by), updated_at = clock_timestamp()
    WHERE task.id = demo_complete.id AND task.version = demo_complete.version AND task.type = 'demo.grab'
    RETURNING task.version
$$;

-- Removes the demo's tasks, and no others: it cancels those that are pending or scheduled, so that the law of states holds here
-- too. Tasks that another transaction has locked, such as a grab, stay, and are counted; those that are made meanwhile stay too.
CREATE FUNCTION tasks.demo_reset(OUT removed bigint, OUT held bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    found CONSTANT uuid[] := ARRAY(
        SELECT id FROM tasks.task WHERE type = 'demo.grab' AND status IN ('pending', 'scheduled'));
BEGIN
    UPDATE tasks.task AS task SET status = 'cancelled', version = task.version + 1
    FROM (SELECT id FROM tasks.task WHERE id = ANY (found) AND status IN ('pending', 'scheduled')
          FOR NO KEY UPDATE SKIP LOCKED) AS free
    WHERE task.id = free.id;
    DELETE FROM tasks.task WHERE type = 'demo.grab' AND status IN ('completed', 'cancelled', 'dead');
    GET DIAGNOSTICS removed = ROW_COUNT;
    SELECT count(*) INTO held FROM tasks.task WHERE id = ANY (found) AND status IN ('pending', 'scheduled');
END $$;

-- They run with their owner's rights, so only who is granted them may call them (sql/roles.sql).
REVOKE EXECUTE ON FUNCTION tasks.submit_once(text, text, text, jsonb, integer, jsonb, uuid, timestamptz),
    tasks.prune_requests(interval, integer), tasks.try_cancel(uuid, bigint),
    tasks.try_reschedule(uuid, timestamptz, bigint), tasks.demo_create(integer), tasks.demo_grab(text, boolean),
    tasks.demo_complete(uuid, bigint), tasks.demo_reset() FROM PUBLIC;
