-- Tasks: a row with a version. Every change of state raises the version by one, and whoever acts on a task
-- names the version it saw, so a late, repeated or reordered message changes nothing.

CREATE SCHEMA tasks;

CREATE TABLE tasks.transition (
    from_status text NOT NULL,
    to_status   text NOT NULL,
    meaning     text NOT NULL,
    PRIMARY KEY (from_status, to_status)
);
COMMENT ON TABLE tasks.transition IS 'The edges of a task''s life; whatever is not here is refused.';

INSERT INTO tasks.transition VALUES
    ('scheduled',  'pending',    'due'),
    ('pending',    'running',    'claimed by a consumer'),
    ('running',    'completed',  'applied'),
    ('running',    'failed',     'its handler raised'),
    ('running',    'pending',    'claim released: given back, or its lease ran out'),
    ('failed',     'scheduled',  'to be tried again'),
    ('failed',     'dead',       'out of attempts'),
    ('pending',    'cancelled',  'cancelled before it ran'),
    ('scheduled',  'cancelled',  'cancelled before it was due'),
    ('running',    'cancelling', 'asked to stop'),
    ('cancelling', 'cancelled',  'stopped'),
    ('dead',       'pending',    're-driven by an operator');

CREATE TABLE tasks.task (
    id           uuid        PRIMARY KEY DEFAULT gen_random_uuid(),
    type         text        NOT NULL,
    payload      jsonb       NOT NULL DEFAULT '{}',
    status       text        NOT NULL DEFAULT 'pending' CHECK (status IN
                     ('scheduled', 'pending', 'running', 'completed', 'failed', 'dead', 'cancelling', 'cancelled')),
    version      bigint      NOT NULL DEFAULT 1 CHECK (version > 0),
    attempts     integer     NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    max_attempts integer     NOT NULL DEFAULT 5,
    run_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    lease_until  timestamptz,
    claimed_by   text,
    last_error   text,
    result       jsonb,
    created_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT "a task has a lease and a claimer exactly while it runs"
        CHECK (CASE WHEN status IN ('running', 'cancelling') THEN lease_until IS NOT NULL AND claimed_by IS NOT NULL
                    ELSE lease_until IS NULL AND claimed_by IS NULL END),
    CONSTRAINT "type must not be empty" CHECK (type <> ''),
    CONSTRAINT "max_attempts must be at least 1" CHECK (max_attempts > 0),
    CONSTRAINT "payload must be at most 1 MiB (1048576 bytes) as JSON text"
        CHECK (octet_length(payload::text) <= 1048576)
);
CREATE INDEX task_lease ON tasks.task (lease_until) WHERE lease_until IS NOT NULL;

-- The trigger that makes the table above and the versions law. It fires on every update; a change that leaves
-- status and version alone is an extended lease, and only a running task has one.
CREATE FUNCTION tasks.check_task_transition() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF NEW.id <> OLD.id THEN
        RAISE EXCEPTION 'task %: its id cannot change', OLD.id USING ERRCODE = 'check_violation';
    END IF;
    IF NEW.status = OLD.status AND NEW.version = OLD.version AND OLD.lease_until IS NOT NULL THEN
        RETURN NEW;
    END IF;
    IF NOT EXISTS (SELECT FROM tasks.transition WHERE from_status = OLD.status AND to_status = NEW.status) THEN
        RAISE EXCEPTION 'task %: cannot go from % to %', OLD.id, OLD.status, NEW.status
            USING ERRCODE = 'check_violation', HINT = 'The allowed edges are in tasks.transition.';
    END IF;
    IF NEW.version <> OLD.version + 1 THEN
        RAISE EXCEPTION 'task %: going from % to % must raise version % by one, not set it to %',
            OLD.id, OLD.status, NEW.status, OLD.version, NEW.version USING ERRCODE = 'check_violation';
    END IF;
    NEW.updated_at := clock_timestamp();
    RETURN NEW;
END $$;

CREATE TRIGGER check_task_transition BEFORE UPDATE ON tasks.task
    FOR EACH ROW EXECUTE FUNCTION tasks.check_task_transition();

-- Writes the event that tells consumers of a pending task. The message names the task and its version and no
-- more: the row is the truth, and a claim reads it.
CREATE FUNCTION tasks.announce(task_id uuid, type text, version bigint, headers jsonb DEFAULT '{}') RETURNS uuid
LANGUAGE sql
RETURN outbox.publish('task', task_id::text, version, 'pending',
                      jsonb_build_object('task_id', task_id, 'type', type, 'version', version), headers);

-- Submits one task in the caller's transaction, its event with it, and returns the task's id.
CREATE FUNCTION tasks.submit(
    type         text,
    payload      jsonb   DEFAULT '{}',
    max_attempts integer DEFAULT 5,
    headers      jsonb   DEFAULT '{}',
    id           uuid    DEFAULT gen_random_uuid()
) RETURNS uuid
LANGUAGE sql
BEGIN ATOMIC
    INSERT INTO tasks.task (id, type, payload, max_attempts) VALUES (id, type, payload, max_attempts);
    SELECT tasks.announce(id, type, 1, headers);
    SELECT id;
END;
