-- The states of a task are law for every role, whatever program or person writes (docs/states.md).
--
-- What is refused has a SQLSTATE of its own:
--     TK001  no such edge in tasks.transition        TK005  deleted while it is not terminal, or truncated
--     TK002  not exactly the next version            TK006  rescheduled while it is neither pending nor scheduled
--     TK003  a column that may not change so         TK007  rescheduled, and there is no such task
--     TK004  inserted in a state that is no start
--
-- What follows needs locks that wait for every open transaction that has written to tasks.task or read tasks.transition, and
-- writers wait behind them. So they are taken first; they give up after two seconds, let the others pass, and try again.
DO $$
DECLARE
    tries  integer := 0;
    before text    := current_setting('lock_timeout');
BEGIN
    LOOP
        BEGIN
            SET LOCAL lock_timeout = '2s';
            LOCK TABLE tasks.task IN SHARE ROW EXCLUSIVE MODE;  -- for triggers
            LOCK TABLE tasks.transition IN ACCESS EXCLUSIVE MODE;  -- for constraints; whoever reads it is waited for, too
            PERFORM set_config('lock_timeout', before, true);
            EXIT;
        EXCEPTION WHEN lock_not_available THEN
            tries := tries + 1;
            IF tries = 3 THEN
                RAISE EXCEPTION 'tasks.task cannot be changed while a transaction that has used it is open: process %', (
                    SELECT string_agg(DISTINCT pid::text, ', ')
                    FROM pg_locks JOIN pg_database ON pg_database.oid = pg_locks.database
                    WHERE datname = current_database() AND granted AND pid <> pg_backend_pid()
                      AND relation IN ('tasks.task'::regclass, 'tasks.transition'::regclass))
                    USING ERRCODE = 'lock_not_available',
                    HINT = 'Wait until it ends, or end it with SELECT pg_terminate_backend(process); then repeat.';
            END IF;
            PERFORM pg_sleep(1);
        END;
    END LOOP;
END $$;

-- Two edges for tasks.reschedule. Each is one version more, so that the message about the old one is stale.
INSERT INTO tasks.transition VALUES
    ('scheduled', 'scheduled', 'rescheduled'),
    ('pending',   'scheduled', 'postponed');

UPDATE tasks.transition SET meaning = 'its handler raised, or its last attempt broke off'
WHERE (from_status, to_status) = ('running', 'failed');
UPDATE tasks.transition SET meaning = 'its handler ended, or its lease ran out'
WHERE (from_status, to_status) = ('cancelling', 'cancelled');

-- What no edge may ever be, also for who may write to the table.
ALTER TABLE tasks.transition
    ADD CONSTRAINT "completed and cancelled are final" CHECK (from_status NOT IN ('completed', 'cancelled')),
    ADD CONSTRAINT "from cancelling a task can only become cancelled"
        CHECK (from_status <> 'cancelling' OR to_status = 'cancelled'),
    ADD CONSTRAINT "from dead a task can only become pending" CHECK (from_status <> 'dead' OR to_status = 'pending'),
    ADD CONSTRAINT "only a pending task can become running" CHECK (to_status <> 'running' OR from_status = 'pending'),
    ADD CONSTRAINT "only a running task can become completed, failed or cancelling"
        CHECK (to_status NOT IN ('completed', 'failed', 'cancelling') OR from_status = 'running');

-- Where a task can go from a state, in words. Only errors call it.
CREATE FUNCTION tasks.ways_out(status text) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT coalesce('from ' || status || ' it can go to ' || string_agg(to_status, ', ' ORDER BY to_status), status || ' is final')
    FROM tasks.transition WHERE from_status = status
$$;

CREATE FUNCTION tasks.refuse_edge(task_id uuid, from_status text, to_status text) RETURNS text
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RAISE EXCEPTION 'task %: cannot go from % to %; %', task_id, from_status, to_status, tasks.ways_out(from_status)
        USING ERRCODE = 'TK001', HINT = 'The allowed edges are in tasks.transition.';
END $$;

-- Which edge, which version, and which columns may change on it. It reads the matrix with its owner's rights, so that the
-- answer does not depend on what else a role may read; and with a fixed search_path, so that nobody's operator decides.
CREATE OR REPLACE FUNCTION tasks.check_task_transition() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    law text;
BEGIN
    IF NEW.status = OLD.status AND NEW.version = OLD.version THEN
        -- Only a lease is extended without a transition.
        IF OLD.status IN ('running', 'cancelling') AND NEW.attempts = OLD.attempts AND NEW.run_at = OLD.run_at
            AND NEW.claimed_by = OLD.claimed_by AND NEW.last_error IS NOT DISTINCT FROM OLD.last_error
            AND NEW.result IS NOT DISTINCT FROM OLD.result
        THEN
            NEW.updated_at := OLD.updated_at;
            RETURN NEW;
        END IF;
        RAISE EXCEPTION 'task %: it is % at version %, and this change needs a transition; %',
            OLD.id, OLD.status, OLD.version, tasks.ways_out(OLD.status) USING ERRCODE = 'TK003',
            HINT = 'Without a transition, only lease_until changes, and only while the task is running or cancelling.';
    END IF;
    IF NOT EXISTS (SELECT FROM tasks.transition WHERE from_status = OLD.status AND to_status = NEW.status) THEN
        PERFORM tasks.refuse_edge(OLD.id, OLD.status, NEW.status);
    END IF;
    IF NEW.version <> OLD.version + 1 THEN
        RAISE EXCEPTION 'task %: going from % to % must raise version % by one, not set it to %',
            OLD.id, OLD.status, NEW.status, OLD.version, NEW.version USING ERRCODE = 'TK002',
            HINT = 'Write SET version = version + 1 ... WHERE id = ... AND version = <the version that was read>.';
    END IF;
    law := CASE
        WHEN NEW.attempts <> CASE
                WHEN NEW.status = 'running' THEN OLD.attempts + 1
                WHEN OLD.status = 'dead' THEN 0
                -- Given back before its handler started: the claim does not count.
                WHEN OLD.status = 'running' AND NEW.status = 'pending' AND NEW.attempts = OLD.attempts - 1
                    THEN NEW.attempts
                ELSE OLD.attempts END
            THEN format('attempts cannot go from %s to %s: a claim adds one, a redrive sets 0, a claim given back may take '
                        'its one away', OLD.attempts, NEW.attempts)
        WHEN NEW.status = 'cancelling' AND (NEW.claimed_by, NEW.lease_until) IS DISTINCT FROM (OLD.claimed_by, OLD.lease_until)
            THEN 'claimed_by and lease_until cannot change: it is still the claimer''s'
        WHEN NEW.result IS DISTINCT FROM OLD.result AND NEW.status <> 'completed'
            THEN 'result cannot change: only a completed task has one'
        WHEN NEW.last_error IS DISTINCT FROM OLD.last_error
                AND (OLD.status NOT IN ('running', 'cancelling') OR NEW.status = 'cancelling')
            THEN 'last_error cannot change: only the end of a claim sets it'
        WHEN NEW.status = 'failed' AND NEW.last_error IS NULL
            THEN 'last_error cannot be NULL: a failed task says why'
        WHEN NEW.run_at <> OLD.run_at AND NEW.status <> 'scheduled'
            THEN 'run_at cannot change: only a change to scheduled sets it'
    END;
    IF law IS NOT NULL THEN
        RAISE EXCEPTION 'task %: when it goes from % to %, %', OLD.id, OLD.status, NEW.status, law USING ERRCODE = 'TK003';
    END IF;
    NEW.updated_at := clock_timestamp();
    RETURN NEW;
END $$;

-- A call for each row costs more than the change. So a claim and a completion that keep to all of the above are let through
-- by the trigger's condition, which costs next to nothing. Whether these two edges are in the matrix is then checked once for
-- the whole statement (tasks.record_transitions). Their writers set updated_at, as the function does for all others.
DROP TRIGGER check_task_transition ON tasks.task;
CREATE TRIGGER check_task_transition BEFORE UPDATE ON tasks.task
    FOR EACH ROW WHEN ((
        NEW.version = OLD.version + 1 AND NEW.run_at = OLD.run_at
        AND NEW.updated_at > OLD.updated_at AND NEW.updated_at <= clock_timestamp()
        AND (OLD.status = 'pending' AND NEW.status = 'running' AND NEW.attempts = OLD.attempts + 1
                AND NEW.last_error IS NOT DISTINCT FROM OLD.last_error AND NEW.result IS NOT DISTINCT FROM OLD.result
             OR OLD.status = 'running' AND NEW.status = 'completed' AND NEW.attempts = OLD.attempts)
    ) IS NOT TRUE)
    EXECUTE FUNCTION tasks.check_task_transition();

-- A trigger of its own for what never changes: it fires only for statements that set such a column, so that a claim does not
-- read a payload of a megabyte to compare it.
CREATE FUNCTION tasks.check_task_columns() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RAISE EXCEPTION 'task %: its % cannot change', OLD.id, CASE
        WHEN NEW.id <> OLD.id THEN 'id'
        WHEN NEW.type <> OLD.type THEN 'type'
        WHEN NEW.max_attempts <> OLD.max_attempts THEN 'max_attempts'
        WHEN NEW.created_at <> OLD.created_at THEN 'created_at'
        ELSE 'payload' END
        USING ERRCODE = 'TK003', HINT = 'Cancel it with SELECT tasks.cancel(id), and submit another.';
END $$;

CREATE TRIGGER check_task_columns BEFORE UPDATE OF id, type, payload, max_attempts, created_at ON tasks.task
    FOR EACH ROW WHEN (OLD.id <> NEW.id OR OLD.type <> NEW.type OR OLD.max_attempts <> NEW.max_attempts
                       OR OLD.created_at <> NEW.created_at OR OLD.payload <> NEW.payload)
    EXECUTE FUNCTION tasks.check_task_columns();

CREATE FUNCTION tasks.check_task_insert() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RAISE EXCEPTION 'task %: it cannot begin as % at version %, with % attempts', NEW.id, NEW.status, NEW.version, NEW.attempts
        USING ERRCODE = 'TK004', HINT = 'A task begins as pending or scheduled, at version 1, with 0 attempts, and without '
            'lease_until, claimed_by, result and last_error; tasks.submit writes it so.';
END $$;

CREATE TRIGGER check_task_insert BEFORE INSERT ON tasks.task
    FOR EACH ROW WHEN (NEW.status NOT IN ('pending', 'scheduled') OR NEW.version <> 1 OR NEW.attempts <> 0
                       OR NEW.lease_until IS NOT NULL OR NEW.claimed_by IS NOT NULL OR NEW.result IS NOT NULL
                       OR NEW.last_error IS NOT NULL)
    EXECUTE FUNCTION tasks.check_task_insert();

CREATE FUNCTION tasks.check_task_delete() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        RAISE EXCEPTION 'tasks.task cannot be truncated: it may hold tasks that are not terminal' USING ERRCODE = 'TK005',
            HINT = 'DELETE FROM tasks.task WHERE status IN (''completed'', ''cancelled'', ''dead'') removes the others.';
    END IF;
    RAISE EXCEPTION 'task %: it is %, and only a completed, cancelled or dead task can be deleted', OLD.id, OLD.status
        USING ERRCODE = 'TK005', HINT = 'Cancel it first: SELECT tasks.cancel(id).';
END $$;

CREATE TRIGGER check_task_delete BEFORE DELETE ON tasks.task
    FOR EACH ROW WHEN (OLD.status NOT IN ('completed', 'cancelled', 'dead'))
    EXECUTE FUNCTION tasks.check_task_delete();
CREATE TRIGGER check_task_truncate BEFORE TRUNCATE ON tasks.task
    FOR EACH STATEMENT EXECUTE FUNCTION tasks.check_task_delete();

-- What became of each task. Only the triggers below write it, with their owner's rights.
CREATE TABLE tasks.history (
    task_id     uuid        NOT NULL,
    version     bigint      NOT NULL,
    from_status text,
    to_status   text        NOT NULL,
    at          timestamptz NOT NULL,
    by_whom     text        NOT NULL,
    error       text,
    PRIMARY KEY (task_id, version)
);
COMMENT ON TABLE tasks.history IS 'Transitions of the tasks: of each the first 10 and the last 40.';
COMMENT ON COLUMN tasks.history.version IS 'The task''s version after it. Versions are consecutive: a gap is what was dropped.';
COMMENT ON COLUMN tasks.history.from_status IS 'NULL for the submission.';
COMMENT ON COLUMN tasks.history.by_whom IS 'The worker whose claim begins or ends; else the role of the session.';
COMMENT ON COLUMN tasks.history.error IS 'What the transition wrote into last_error.';

-- For each statement, and not for each row: a claim of 200 tasks is one INSERT here.
CREATE FUNCTION tasks.record_submissions() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    INSERT INTO tasks.history (task_id, version, to_status, at, by_whom)
    SELECT id, version, status, created_at, session_user FROM written;
    RETURN NULL;
END $$;

-- It also refuses an edge that is not in the matrix. Its arguments are how many of the first and of the last transitions are
-- kept. The plans are kept for the session, so they must be
-- good for batches too, where a nested loop over what a statement changed would take quadratic time, and for a history that has
-- grown: always by the index.
CREATE FUNCTION tasks.record_transitions() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    SET enable_nestloop = off SET enable_seqscan = off
AS $$
DECLARE
    first_kept CONSTANT bigint := TG_ARGV[0];
    last_kept  CONSTANT bigint := TG_ARGV[1];
    long       record;
BEGIN
    INSERT INTO tasks.history (task_id, version, from_status, to_status, at, by_whom, error)
    SELECT id, written.version, replaced.status,
           coalesce(edge.to_status, tasks.refuse_edge(id, replaced.status, written.status)), written.updated_at,
           CASE WHEN written.status = 'cancelling' THEN session_user
                ELSE coalesce(written.claimed_by, replaced.claimed_by, session_user) END,
           CASE WHEN written.status = 'failed' OR written.last_error IS DISTINCT FROM replaced.last_error
                THEN left(written.last_error, 1000) END
    FROM written JOIN replaced USING (id)
    LEFT JOIN tasks.transition AS edge ON edge.from_status = replaced.status AND edge.to_status = written.status
    WHERE written.version <> replaced.version;
    FOR long IN SELECT id, version FROM written WHERE version > first_kept + last_kept LOOP
        DELETE FROM tasks.history
        WHERE task_id = long.id AND version > first_kept AND version <= long.version - last_kept;
    END LOOP;
    RETURN NULL;
END $$;

-- The plan is kept for the session here too: always by the index, however small the table was at first.
CREATE FUNCTION tasks.forget_history() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off
AS $$
BEGIN
    DELETE FROM tasks.history USING removed WHERE task_id = removed.id;
    RETURN NULL;
END $$;

CREATE TRIGGER record_submissions AFTER INSERT ON tasks.task
    REFERENCING NEW TABLE AS written FOR EACH STATEMENT EXECUTE FUNCTION tasks.record_submissions();
CREATE TRIGGER record_transitions AFTER UPDATE ON tasks.task
    REFERENCING OLD TABLE AS replaced NEW TABLE AS written
    FOR EACH STATEMENT EXECUTE FUNCTION tasks.record_transitions(10, 40);
CREATE TRIGGER forget_history AFTER DELETE ON tasks.task
    REFERENCING OLD TABLE AS removed FOR EACH STATEMENT EXECUTE FUNCTION tasks.forget_history();

-- One task's transitions in their order; `dropped` is how many before each are no longer there, or were never recorded.
CREATE FUNCTION tasks.history_of(task_id uuid) RETURNS TABLE (
    version bigint, dropped bigint, from_status text, to_status text, at timestamptz, by_whom text, error text)
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT h.version, h.version - lag(h.version, 1, 0::bigint) OVER (ORDER BY h.version) - 1,
           h.from_status, h.to_status, h.at, h.by_whom, h.error
    FROM tasks.history AS h WHERE h.task_id = history_of.task_id ORDER BY h.version;
END;

-- tasks.submit with run_at. A function with one argument more is another function, so the old ones go first.
DO $$
DECLARE
    form text;
BEGIN
    FOREACH form IN ARRAY ARRAY(
        SELECT oid::regprocedure::text FROM pg_proc
        WHERE pronamespace = 'tasks'::regnamespace AND proname = 'submit' AND pronargs = 5
          AND oid <> to_regprocedure('tasks.submit(text, jsonb, integer, jsonb, uuid)'))
    LOOP
        EXECUTE 'DROP FUNCTION ' || form;
    END LOOP;
END $$;
DROP FUNCTION tasks.submit(text, jsonb, integer, jsonb, uuid);
DROP FUNCTION tasks.write_task(text, jsonb, integer, jsonb, uuid);

-- What every form of tasks.submit comes down to. A task that is due later has no event: it gets one when it becomes pending.
CREATE FUNCTION tasks.write_task(
    type text, payload jsonb, max_attempts integer, headers jsonb, id uuid, run_at timestamptz, as_of timestamptz
) RETURNS uuid
LANGUAGE sql
BEGIN ATOMIC
    INSERT INTO tasks.task (id, type, payload, max_attempts, status, run_at)
    VALUES (id, type, payload, max_attempts, CASE WHEN run_at > as_of THEN 'scheduled' ELSE 'pending' END,
            coalesce(run_at, as_of));
    SELECT tasks.announce(id, type, 1, headers) WHERE run_at IS NULL OR run_at <= as_of;
    SELECT id;
END;

CREATE FUNCTION tasks.submit(
    type         text,
    payload      jsonb       DEFAULT '{}',
    max_attempts integer     DEFAULT 5,
    headers      jsonb       DEFAULT '{}',
    id           uuid        DEFAULT gen_random_uuid(),
    run_at       timestamptz DEFAULT NULL
) RETURNS uuid
LANGUAGE sql
RETURN tasks.write_task(type, coalesce(payload, '{}'), coalesce(max_attempts, 5), coalesce(headers, '{}'),
                        coalesce(id, gen_random_uuid()), run_at, clock_timestamp());

DO $$
DECLARE
    form record;
BEGIN
    FOR form IN
        SELECT * FROM (VALUES ('text'), ('anycompatible')) AS payload (payload),
                      (VALUES ('bigint DEFAULT NULL, headers text DEFAULT NULL, id uuid DEFAULT NULL'),
                              ('bigint,              headers json,              id uuid DEFAULT NULL'),
                              ('bigint,              headers jsonb,             id uuid DEFAULT NULL'),
                              ('bigint,              headers text,              id text'),
                              ('bigint,              headers json,              id text'),
                              ('bigint,              headers jsonb,             id text')) AS optional (from_max_attempts)
    LOOP
        EXECUTE format($create$
            CREATE FUNCTION tasks.submit(type text, payload %s, max_attempts %s, run_at timestamptz DEFAULT NULL) RETURNS uuid
            LANGUAGE sql AS $body$
                SELECT tasks.write_task(
                    type, coalesce(outbox.as_json('payload', payload), '{}'), coalesce(max_attempts, 5)::integer,
                    coalesce(outbox.as_json('headers', headers), '{}'), coalesce(id::uuid, gen_random_uuid()), run_at,
                    clock_timestamp())
            $body$ $create$, form.payload, form.from_max_attempts);
    END LOOP;
END $$;

-- Cancels one task and returns its status afterwards: cancelled, or cancelling while its handler runs. A task that is terminal
-- or failed stays as it is. NULL means that there is no such task (any more).
--
-- It changes the version that it has read. If somebody was faster, it reads again and decides anew: each statement of a
-- volatile function sees what was committed before it. (In a transaction of REPEATABLE READ the UPDATE fails with 40001.)
CREATE FUNCTION tasks.cancel(id uuid) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    found_status  text;
    found_version bigint;
    target        text;
BEGIN
    LOOP
        SELECT task.status, task.version INTO found_status, found_version FROM tasks.task AS task WHERE task.id = cancel.id;
        target := CASE WHEN found_status IN ('pending', 'scheduled') THEN 'cancelled'
                       WHEN found_status = 'running' THEN 'cancelling' END;
        IF target IS NULL THEN
            RETURN found_status;
        END IF;
        UPDATE tasks.task AS task SET status = target, version = task.version + 1
        WHERE task.id = cancel.id AND task.version = found_version;
        IF FOUND THEN
            RETURN target;
        END IF;
    END LOOP;
END $$;

-- Moves a task that no consumer has claimed to another time, and returns its status afterwards: scheduled.
CREATE FUNCTION tasks.reschedule(id uuid, run_at timestamptz) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    found_status  text;
    found_version bigint;
BEGIN
    IF reschedule.run_at IS NULL THEN
        RAISE EXCEPTION 'task %: run_at cannot be NULL', reschedule.id USING ERRCODE = 'null_value_not_allowed',
            HINT = 'Pass the time at which it is to run; clock_timestamp() for as soon as possible.';
    END IF;
    LOOP
        SELECT task.status, task.version INTO found_status, found_version
        FROM tasks.task AS task WHERE task.id = reschedule.id;
        IF found_status IS NULL THEN
            RAISE EXCEPTION 'task %: there is no such task', reschedule.id USING ERRCODE = 'TK007',
                HINT = 'Its transaction has not committed, it was removed, or the id is wrong.';
        ELSIF found_status NOT IN ('pending', 'scheduled') THEN
            RAISE EXCEPTION 'task %: it is %, and only a pending or scheduled task can be rescheduled', reschedule.id, found_status
                USING ERRCODE = 'TK006';
        END IF;
        UPDATE tasks.task AS task SET status = 'scheduled', version = task.version + 1, run_at = reschedule.run_at
        WHERE task.id = reschedule.id AND task.version = found_version;
        IF FOUND THEN
            RETURN 'scheduled';
        END IF;
    END LOOP;
END $$;

-- For drivers that name the type of each value and have none for uuid.
CREATE FUNCTION tasks.cancel(id text) RETURNS text
LANGUAGE sql
RETURN tasks.cancel(id::uuid);
CREATE FUNCTION tasks.reschedule(id text, run_at timestamptz) RETURNS text
LANGUAGE sql
RETURN tasks.reschedule(id::uuid, run_at);

-- They run with their owner's rights, so only who is granted them may call them (sql/roles.sql).
REVOKE EXECUTE ON FUNCTION tasks.cancel(uuid) FROM PUBLIC;
REVOKE EXECUTE ON FUNCTION tasks.reschedule(uuid, timestamptz) FROM PUBLIC;

-- Ends claims whose lease has run out, at most so many at a time, and returns what became of their tasks: pending, announced in
-- the same transaction, so that the task runs again; dead, by way of failed, when that was its last attempt; cancelled, when it
-- was to stop anyhow. Tasks that are failed become dead, too. Several consumers may call it at once: each skips rows that another locks. It has the caller's rights.
CREATE FUNCTION tasks.end_expired_claims(at_most integer) RETURNS TABLE (id uuid, status text, claimed_by text)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    ended record;
BEGIN
    FOR ended IN
        WITH expired AS (
            SELECT task.id, task.version, task.claimed_by,
                   CASE WHEN task.status = 'cancelling' THEN 'cancelled'
                        WHEN task.attempts < task.max_attempts THEN 'pending' ELSE 'failed' END AS target,
                   format('its lease ran out on attempt %s of %s', task.attempts, task.max_attempts) AS reason
            FROM tasks.task AS task
            -- The clock is read once, in a subquery, so that the index on lease_until can be used.
            WHERE task.lease_until < (SELECT clock_timestamp())
            ORDER BY task.lease_until LIMIT at_most
            FOR NO KEY UPDATE SKIP LOCKED
        )
        UPDATE tasks.task AS task
        SET status = expired.target, version = task.version + 1, lease_until = NULL, claimed_by = NULL,
            last_error = expired.reason
        FROM expired WHERE task.id = expired.id AND task.version = expired.version
        RETURNING task.id, task.type, task.status, task.version, expired.claimed_by
    LOOP
        id := ended.id;
        status := ended.status;
        claimed_by := ended.claimed_by;
        IF ended.status = 'pending' THEN
            PERFORM tasks.announce(ended.id, ended.type, ended.version);
        ELSIF ended.status = 'failed' THEN
            UPDATE tasks.task AS task SET status = 'dead', version = task.version + 1
            WHERE task.id = ended.id AND task.version = ended.version;
            status := 'dead';
        END IF;
        RETURN NEXT;
    END LOOP;
    -- Consumers of earlier versions leave tasks failed; those of this one do not, except within a transaction.
    FOR ended IN
        WITH left_failed AS (
            SELECT task.id, task.version FROM tasks.task AS task WHERE task.status = 'failed'
            ORDER BY task.id LIMIT at_most FOR NO KEY UPDATE SKIP LOCKED
        )
        UPDATE tasks.task AS task SET status = 'dead', version = task.version + 1
        FROM left_failed WHERE task.id = left_failed.id AND task.version = left_failed.version
        RETURNING task.id
    LOOP
        id := ended.id;
        status := 'dead';
        claimed_by := 'a consumer of an earlier version';
        RETURN NEXT;
    END LOOP;
END $$;
