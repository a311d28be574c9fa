-- What operators do with dead tasks, and how a pending task without a message is found and announced again (docs/tasks.md).

-- For those who look at tasks that wait, and for the job below. An entry is written when a task becomes pending or dead.
CREATE INDEX task_pending ON tasks.task (updated_at) WHERE status = 'pending';
CREATE INDEX task_dead ON tasks.task (updated_at, id) WHERE status = 'dead';

-- Drives dead tasks again: pending with 0 attempts, and announced in the same transaction. Returns the ids of those that it
-- changed; one that is not dead, or not any more, is left as it is. So it may be repeated, and two may do it at once.
CREATE FUNCTION tasks.redrive(ids uuid[]) RETURNS SETOF uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    driven record;
BEGIN
    FOR driven IN
        WITH dead AS (
            SELECT task.id, task.version FROM tasks.task AS task
            WHERE task.id = ANY (ids) AND task.status = 'dead'
            ORDER BY task.id FOR NO KEY UPDATE  -- in the order in which consumers lock rows too
        )
        UPDATE tasks.task AS task SET status = 'pending', version = task.version + 1, attempts = 0
        FROM dead WHERE task.id = dead.id AND task.version = dead.version
        RETURNING task.id, task.type, task.version
    LOOP
        PERFORM tasks.announce(driven.id, driven.type, driven.version);
        RETURN NEXT driven.id;
    END LOOP;
END $$;

-- A task that was discarded is deleted, and its history with it. This is what is left of it.
CREATE TABLE tasks.discarded (
    task_id      uuid        NOT NULL,
    type         text        NOT NULL,
    version      bigint      NOT NULL,
    attempts     integer     NOT NULL,
    last_error   text,
    created_at   timestamptz NOT NULL,
    died_at      timestamptz NOT NULL,
    discarded_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    discarded_by text        NOT NULL DEFAULT session_user
);
COMMENT ON TABLE tasks.discarded IS 'Dead tasks that an operator deleted, without their payloads.';

-- Deletes dead tasks and records that in tasks.discarded. Returns the ids of those that it deleted.
CREATE FUNCTION tasks.discard(ids uuid[]) RETURNS SETOF uuid
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    WITH dead AS (
        SELECT task.id FROM tasks.task AS task WHERE task.id = ANY (ids) AND task.status = 'dead'
        ORDER BY task.id FOR UPDATE
    ), gone AS (
        DELETE FROM tasks.task AS task USING dead WHERE task.id = dead.id RETURNING task.*
    )
    INSERT INTO tasks.discarded (task_id, type, version, attempts, last_error, created_at, died_at)
    SELECT id, type, version, attempts, left(last_error, 1000), created_at, updated_at FROM gone
    RETURNING task_id
$$;

-- How a pending task without a message is found: by a probe, which is an event like that of a pending task. It takes the
-- same way, through the relay, the exchange and the queue, and nothing overtakes on that way. So when a consumer receives the
-- probe, every message of a task that was pending before the probe was written has been delivered before, or is lost.
-- Whatever waits longer (a queue with a million messages, a relay that is down) holds up the probe as well, and no task is
-- announced again.
--
-- "Before" means that the task's transaction had ended when the probe was written: its id is below `horizon`, the oldest
-- transaction that was open then. A time would not do: a row's time is that of its INSERT, and its event follows the COMMIT.
CREATE TABLE tasks.probe (
    id         uuid        PRIMARY KEY,
    horizon    xid8        NOT NULL,
    sent_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    arrived_at timestamptz
);
COMMENT ON TABLE tasks.probe IS 'Probes that were written while tasks were pending for long, and when a consumer received them.';

CREATE TABLE tasks.reannounced (
    task_id uuid        PRIMARY KEY,
    version bigint      NOT NULL,
    times   integer     NOT NULL,
    at      timestamptz NOT NULL
);
COMMENT ON TABLE tasks.reannounced IS 'How often a task that is still pending at this version was announced again, and when.';

-- Writes a probe if a task has been pending for longer than `wait` and no probe is on its way. One that has not arrived is
-- given up after `wait`, then after twice and four times that time, up to an hour: it may be lost, or wait behind a backlog.
-- What it returns is for the log: the id of the probe, or NULL. Tasks of the locking demo (018_service.sql) wait for no message.
CREATE FUNCTION tasks.send_probe(wait interval) RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    made       CONSTANT uuid := gen_random_uuid();
    on_its_way bigint;
    last_sent  timestamptz;
BEGIN
    DELETE FROM tasks.reannounced AS again WHERE NOT EXISTS (
        SELECT FROM tasks.task AS task
        WHERE task.id = again.task_id AND task.version = again.version AND task.status = 'pending');
    IF NOT EXISTS (
        SELECT FROM tasks.task AS task
        WHERE task.status = 'pending' AND task.type <> 'demo.grab' AND task.updated_at < clock_timestamp() - wait)
    THEN
        DELETE FROM tasks.probe;
        RETURN NULL;
    END IF;
    SELECT count(*), max(sent_at) INTO on_its_way, last_sent FROM tasks.probe;
    IF EXISTS (SELECT FROM tasks.probe WHERE arrived_at IS NOT NULL)
        OR last_sent + least(wait * 2 ^ least(on_its_way - 1, 20), greatest(wait, '1 hour')) > clock_timestamp()
    THEN
        RETURN NULL;
    END IF;
    INSERT INTO tasks.probe (id, horizon) VALUES (made, pg_snapshot_xmin(pg_current_snapshot()));
    PERFORM tasks.announce(made, 'consumers.probe', 1, '{"x-probe": true}');
    RETURN made;
END $$;

-- Notes that a consumer has received probes.
CREATE FUNCTION tasks.probes_arrived(ids uuid[]) RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    WITH noted AS (
        UPDATE tasks.probe SET arrived_at = clock_timestamp() WHERE id = ANY (ids) AND arrived_at IS NULL RETURNING id
    )
    SELECT count(*) FROM noted
$$;

-- Announces tasks again that were pending before the latest probe that arrived at least `wait` ago: deliveries that came with it
-- have been claimed since. At most so many at a time, those that have waited for longest first. `reason` is parked when the
-- relay has parked the message, else lost; `times` is how often it was announced again, this time included.
--
-- A task is announced at the version that it has. So its row is not written, and a message that exists all the same does no
-- harm: whichever is second is a duplicate. With a new version the first message would be stale, and a task that was judged
-- wrongly would go to the end of the queue.
--
-- A task whose message is lost again is announced after a later probe, and not before `wait` times 2, 4, 8 and so on has
-- passed, up to a day. Rows that somebody has locked are being claimed or cancelled.
CREATE FUNCTION tasks.announce_again(wait interval, at_most integer)
RETURNS TABLE (task_id uuid, type text, times integer, reason text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_custom_plan
AS $$
DECLARE
    answered tasks.probe;
    below    bigint;
    found    record;
    written  integer := 0;
BEGIN
    SELECT * INTO answered FROM tasks.probe WHERE arrived_at <= clock_timestamp() - wait ORDER BY sent_at DESC LIMIT 1;
    IF answered.id IS NULL THEN
        RETURN;
    END IF;
    below := answered.horizon::text;
    FOR found IN
        SELECT task.id, task.type, task.version,
               CASE WHEN (task.id::text, task.version) IN (
                        SELECT parked.aggregate_id, parked.aggregate_version FROM relay.parked AS parked
                        WHERE parked.aggregate_type = 'task' AND parked.redriven_at IS NULL AND parked.discarded_at IS NULL)
                    THEN 'parked' ELSE 'lost' END AS reason
        FROM tasks.task AS task LEFT JOIN tasks.reannounced AS again ON again.task_id = task.id AND again.version = task.version
        WHERE task.status = 'pending' AND task.type <> 'demo.grab' AND task.updated_at < answered.sent_at
          -- Whether xmin is below the horizon, as Postgres compares transaction ids: within 2^31 of each other. A task that
          -- has been pending for a day may be older than that.
          AND ((below - task.xmin::text::bigint) & 4294967295 BETWEEN 1 AND 2147483647
               OR task.updated_at < answered.sent_at - interval '1 day')
          AND (again.task_id IS NULL
               OR again.at < answered.sent_at
                  AND again.at + least(wait * 2 ^ least(again.times, 20), greatest(wait, '1 day')) <= clock_timestamp())
        ORDER BY task.updated_at LIMIT at_most
        FOR NO KEY UPDATE OF task SKIP LOCKED
    LOOP
        INSERT INTO tasks.reannounced AS again (task_id, version, times, at)
        VALUES (found.id, found.version, 1, clock_timestamp())
        ON CONFLICT ON CONSTRAINT reannounced_pkey DO UPDATE
        SET times = CASE WHEN again.version = excluded.version THEN again.times + 1 ELSE 1 END,
            version = excluded.version, at = excluded.at
        RETURNING again.times INTO announce_again.times;
        PERFORM tasks.announce(found.id, found.type, found.version);
        written := written + 1;
        task_id := found.id;
        type := found.type;
        reason := found.reason;
        RETURN NEXT;
    END LOOP;
    IF written < at_most THEN
        DELETE FROM tasks.probe WHERE sent_at <= answered.sent_at;
    END IF;
END $$;

-- They run with their owner's rights, so only who is granted them may call them (sql/roles.sql).
REVOKE EXECUTE ON FUNCTION tasks.redrive(uuid[]), tasks.discard(uuid[]), tasks.send_probe(interval),
    tasks.probes_arrived(uuid[]), tasks.announce_again(interval, integer) FROM PUBLIC;
