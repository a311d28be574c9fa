-- A role for each part of the product, with only the rights that it needs. Plain SQL: run it in the outbox's database
-- before `relay setup`, and again after it; repeating it changes nothing:
--
--     psql --set ON_ERROR_STOP=1 --file sql/roles.sql <database>
--
-- Run it as a superuser; or as a role with CREATEROLE that owns the database, such as a managed server's administrator.
-- What such a role may not give is left out with a warning, which says what gives it there.
--
-- The first run creates the roles, so that `relay setup` can run as outbox_owner; the second one grants rights on what
-- setup created. It revokes no other grants. For other names replace `outbox_` everywhere, except in outbox_setup, which
-- is a schema: roles belong to the whole cluster, so a second outbox in it needs roles of its own. It sets no passwords:
-- \password <role>.
--
-- A relay that only polls (RELAY_SOURCE=polling) runs as outbox_poller, which has no REPLICATION, and may run `relay setup`
-- again when the owner has run it before. For an outbox table of your own, grant it SELECT on that table; if the table has
-- row-level security, BYPASSRLS too, and give that again after this file: it takes the attribute from each role.
--
-- REPLICATION cannot be limited to a database or a table: a role with it reads the WAL of the whole cluster
-- (https://www.postgresql.org/docs/current/role-attributes.html). Therefore outbox_relay is a separate role with a
-- limit on its sessions; it is a member of no role and has no members. pg_hba.conf should let it in from the relay's
-- hosts only, with TLS (a logical walsender is matched by the database's name, not by `replication`):
--
--     hostssl  <database>  outbox_relay  <relay's network>  scram-sha-256
--     host     all         outbox_relay  all                reject

DO $$
DECLARE
    role record;
BEGIN
    FOR role IN SELECT * FROM (VALUES
        -- runs `relay setup` and nothing else: owns the schema; replication is for making the slot
        ('outbox_owner',    true,  true,  5),
        -- runs `relay run`, `check`, `status`, `tail` and `slot`: up to ten sessions for the active relay, four for a standby
        ('outbox_relay',    true,  true,  20),
        -- the same with RELAY_SOURCE=polling, which needs neither REPLICATION nor wal_level=logical
        ('outbox_poller',   true,  false, 20),
        -- for people: `relay parked`, `switch`, `positions`, `audit`, and `replay` from the table; `consumers status`, `states`,
        -- `dead`, `dlq`, `locks`, `events parked`;
        -- GRANT outbox_operator TO <person>
        ('outbox_operator', false, false, -1),
        -- for applications: write events and tasks; GRANT outbox_writer TO <application>
        ('outbox_writer',   false, false, -1),
        -- runs `writers serve`: what outbox_writer may, and look at tasks; with GRANT outbox_demo TO outbox_service, grab them too
        ('outbox_service',  true,  false, -1),
        -- for the locking demo: its own tasks, and no others
        ('outbox_demo',     false, false, -1),
        -- runs `consumers run` and `consumers check`
        ('outbox_consumer', true,  false, -1),
        -- for people and audits: read everything; GRANT outbox_auditor TO <person>
        ('outbox_auditor',  false, false, -1)
    ) AS wanted (name, login, replication, sessions)
    LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role.name) THEN
            EXECUTE format('CREATE ROLE %I', role.name);
        END IF;
        -- Only what differs is changed: to name an attribute at all may take a superuser.
        IF EXISTS (SELECT FROM pg_roles WHERE rolname = role.name AND rolcanlogin <> role.login) THEN
            EXECUTE format('ALTER ROLE %I %s', role.name, CASE WHEN role.login THEN 'LOGIN' ELSE 'NOLOGIN' END);
        END IF;
        -- A higher limit was set for more relays, and stays.
        IF EXISTS (SELECT FROM pg_roles WHERE rolname = role.name AND rolconnlimit < role.sessions) THEN
            EXECUTE format('ALTER ROLE %I CONNECTION LIMIT %s', role.name, role.sessions);
        END IF;
        IF EXISTS (SELECT FROM pg_roles WHERE rolname = role.name
                   AND (rolsuper OR rolcreatedb OR rolcreaterole OR rolbypassrls)) THEN
            EXECUTE format('ALTER ROLE %I NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS', role.name);
        END IF;
        CONTINUE WHEN NOT role.replication
            OR EXISTS (SELECT FROM pg_roles WHERE rolname = role.name AND rolreplication);
        BEGIN
            IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'rds_replication') THEN  -- Amazon RDS and Aurora
                EXECUTE format('GRANT rds_replication TO %I', role.name);
            ELSE
                EXECUTE format('ALTER ROLE %I REPLICATION', role.name);
            END IF;
        EXCEPTION WHEN insufficient_privilege THEN
            RAISE WARNING 'role % cannot stream yet: %', role.name, SQLERRM
                USING HINT = format('As a superuser, or from PostgreSQL 16 on as a role with REPLICATION and CREATEROLE: '
                                    'ALTER ROLE %I REPLICATION. A managed server''s manual names its own way.', role.name);
        END;
    END LOOP;

    BEGIN
        EXECUTE format('GRANT CREATE ON DATABASE %I TO outbox_owner', current_database());
    EXCEPTION WHEN insufficient_privilege THEN
        RAISE WARNING 'role outbox_owner cannot make schemas yet: %', SQLERRM
            USING HINT = format('As the database''s owner: GRANT CREATE ON DATABASE %I TO outbox_owner.', current_database());
    END;
END $$;

DO $$
DECLARE
    guest boolean := NOT pg_has_role(current_user, 'outbox_owner', 'USAGE');
BEGIN
    IF NOT EXISTS (SELECT FROM pg_namespace WHERE nspname = 'relay') THEN
        RAISE NOTICE 'the roles are created; run `relay setup` as outbox_owner, then this file again for their grants';
        RETURN;
    END IF;

    -- Only the owner of what setup made may grant rights on it; a superuser is every role.
    IF guest THEN
        EXECUTE format('GRANT outbox_owner TO %I', current_user);
    END IF;

    -- These functions run with their owner's rights, so only the relay may call them.
    REVOKE EXECUTE ON FUNCTION outbox.create_partitions(integer), outbox.drop_partition(text, interval),
        outbox.drain_default(interval, integer), outbox.old_partitions(interval), outbox.old_in_default(interval),
        outbox.published(), outbox.kept_by() FROM PUBLIC;
    -- The same for consumers: the locks of their jobs, and the removal of tasks that have ended.
    REVOKE EXECUTE ON FUNCTION tasks.acquire_lock(text, interval, text), tasks.release_lock(text, bigint, interval),
        tasks.extend_lock(text, bigint, interval), tasks.free_lock(text), tasks.prune_tasks(interval, integer) FROM PUBLIC;
    REVOKE EXECUTE ON FUNCTION tasks.redrive(uuid[]), tasks.discard(uuid[]), tasks.send_probe(interval),
        tasks.probes_arrived(uuid[]), tasks.announce_again(interval, integer) FROM PUBLIC;

    -- The same for the service.
    REVOKE EXECUTE ON FUNCTION tasks.submit_once(text, text, text, jsonb, integer, jsonb, uuid, timestamptz),
        tasks.prune_requests(interval, integer), tasks.try_cancel(uuid, bigint),
        tasks.try_reschedule(uuid, timestamptz, bigint), tasks.demo_create(integer), tasks.demo_grab(text, boolean),
        tasks.demo_complete(uuid, bigint), tasks.demo_reset() FROM PUBLIC;

    REVOKE EXECUTE ON FUNCTION inbox.prune(interval, integer), inbox.discard_parked(bigint) FROM PUBLIC;

    -- An event is written by column: tx and seq are the outbox's own. A consumer announces a task that runs again. An
    -- earlier version granted the whole table.
    REVOKE INSERT ON outbox.event FROM outbox_writer, outbox_consumer, outbox_operator;
    GRANT INSERT (id, aggregate_type, aggregate_id, aggregate_version, event_type, payload, headers, exchange, routing_key,
                  created_at) ON outbox.event TO outbox_writer, outbox_consumer;

    GRANT USAGE ON SCHEMA relay, outbox TO outbox_relay, outbox_poller;
    GRANT SELECT, INSERT, UPDATE ON relay.checkpoint, relay.parked TO outbox_relay, outbox_poller;
    GRANT SELECT, INSERT ON relay.handover TO outbox_relay, outbox_poller;
    -- Positions of the past and what was confirmed, which are merged and removed with age; and replays.
    GRANT SELECT, INSERT, DELETE ON relay.checkpoint_history, relay.confirmed TO outbox_relay, outbox_poller;
    GRANT SELECT, INSERT, UPDATE ON relay.replay TO outbox_relay, outbox_poller;
    GRANT SELECT ON outbox.retired TO outbox_relay, outbox_poller;
    GRANT EXECUTE ON FUNCTION outbox.create_partitions(integer), outbox.drop_partition(text, interval),
        outbox.drain_default(interval, integer), outbox.old_partitions(interval), outbox.old_in_default(interval)
        TO outbox_relay, outbox_poller;
    GRANT SELECT ON outbox.event TO outbox_relay, outbox_poller;

    -- For RELAY_POLL_STRATEGY=skip_locked. To lock a row, with whichever lock, Postgres asks for the right to update a column
    -- of its table. Nobody can update `seq` to anything but a new number, so this is the least; the relay only locks. Who does
    -- not use that strategy may: REVOKE UPDATE (seq) ON outbox.event FROM outbox_relay, outbox_poller
    GRANT SELECT, INSERT, DELETE ON relay.mark TO outbox_relay, outbox_poller;
    GRANT UPDATE (seq) ON outbox.event TO outbox_relay, outbox_poller;

    GRANT USAGE ON SCHEMA relay TO outbox_operator;
    GRANT SELECT, UPDATE ON relay.parked TO outbox_operator;
    GRANT SELECT ON relay.checkpoint, relay.handover TO outbox_operator;  -- whose slot it is, and what was switched
    GRANT UPDATE (wanted) ON relay.checkpoint TO outbox_operator;  -- `relay switch`
    -- `relay positions`, `relay replay` from the table, `relay audit` and its --repair, from any host.
    GRANT USAGE ON SCHEMA outbox TO outbox_operator;
    GRANT SELECT ON outbox.event, outbox.retired, relay.checkpoint_history, relay.confirmed TO outbox_operator;
    GRANT SELECT, INSERT, UPDATE ON relay.replay TO outbox_operator;
    GRANT INSERT ON relay.confirmed, relay.parked TO outbox_operator;

    -- `consumers status`, `states`, `dead`, `dlq` and `locks`, and what their remedies name: the functions run with their owner's
    -- rights.
    GRANT USAGE ON SCHEMA outbox, tasks TO outbox_operator;
    GRANT SELECT ON tasks.task, tasks.history, tasks.lock, tasks.transition TO outbox_operator;
    GRANT EXECUTE ON FUNCTION tasks.redrive(uuid[]), tasks.discard(uuid[]), tasks.cancel(uuid),
        tasks.reschedule(uuid, timestamptz), tasks.free_lock(text) TO outbox_operator;

    GRANT USAGE ON SCHEMA outbox, tasks TO outbox_writer;
    -- A task is written by column: the triggers refuse any other start anyhow. An earlier version granted the whole table.
    REVOKE INSERT ON tasks.task FROM outbox_writer;
    GRANT INSERT (id, type, payload, max_attempts, status, run_at) ON tasks.task TO outbox_writer;
    GRANT SELECT (id) ON tasks.task TO outbox_writer;  -- to see whether a COMMIT without an answer took place
    -- These functions change a task with their owner's rights.
    GRANT EXECUTE ON FUNCTION tasks.cancel(uuid), tasks.reschedule(uuid, timestamptz) TO outbox_writer;

    -- It writes as a writer does, and reads tasks. What claims one is not granted.
    GRANT USAGE ON SCHEMA outbox, tasks TO outbox_service;
    GRANT INSERT (id, aggregate_type, aggregate_id, aggregate_version, event_type, payload, headers, exchange, routing_key,
                  created_at) ON outbox.event TO outbox_service;
    GRANT INSERT (id, type, payload, max_attempts, status, run_at) ON tasks.task TO outbox_service;
    GRANT SELECT ON tasks.task, tasks.history TO outbox_service;
    GRANT EXECUTE ON FUNCTION tasks.submit_once(text, text, text, jsonb, integer, jsonb, uuid, timestamptz),
        tasks.prune_requests(interval, integer), tasks.try_cancel(uuid, bigint),
        tasks.try_reschedule(uuid, timestamptz, bigint) TO outbox_service;
    GRANT USAGE ON SCHEMA tasks TO outbox_demo;
    GRANT EXECUTE ON FUNCTION tasks.demo_create(integer), tasks.demo_grab(text, boolean),
        tasks.demo_complete(uuid, bigint), tasks.demo_reset() TO outbox_demo;

    GRANT USAGE ON SCHEMA outbox, tasks TO outbox_consumer;
    -- What a transition changes; run_at is for the next attempt. An earlier version granted the whole table.
    REVOKE UPDATE ON tasks.task FROM outbox_consumer;
    GRANT SELECT, UPDATE (status, version, attempts, run_at, lease_until, claimed_by, last_error, result, updated_at) ON tasks.task
        TO outbox_consumer;
    -- What a handler submits with its outcome.
    GRANT INSERT (id, type, payload, max_attempts, status, run_at) ON tasks.task TO outbox_consumer;
    GRANT SELECT ON tasks.transition, tasks.lock TO outbox_consumer;
    GRANT EXECUTE ON FUNCTION tasks.acquire_lock(text, interval, text), tasks.release_lock(text, bigint, interval),
        tasks.extend_lock(text, bigint, interval), tasks.free_lock(text), tasks.prune_tasks(interval, integer),
        tasks.send_probe(interval), tasks.probes_arrived(uuid[]), tasks.announce_again(interval, integer)
        TO outbox_consumer;

    -- The inbox of event handlers. What they write themselves, in tables of the application, is granted by that.
    GRANT USAGE ON SCHEMA inbox TO outbox_consumer, outbox_operator;
    GRANT SELECT, INSERT ON inbox.message, inbox.position, inbox.parked TO outbox_consumer;
    GRANT UPDATE (version, changed_at) ON inbox.position TO outbox_consumer;
    GRANT UPDATE (asked_at, applied_at, times, parked_at, reason, error) ON inbox.parked TO outbox_consumer;
    GRANT EXECUTE ON FUNCTION inbox.prune(interval, integer) TO outbox_consumer;
    GRANT SELECT, UPDATE (asked_at) ON inbox.parked TO outbox_operator;
    GRANT SELECT ON inbox.message, inbox.position TO outbox_operator;  -- `relay audit`
    GRANT EXECUTE ON FUNCTION inbox.discard_parked(bigint) TO outbox_consumer, outbox_operator;

    GRANT USAGE ON SCHEMA relay, outbox, tasks, inbox TO outbox_auditor;
    GRANT SELECT ON ALL TABLES IN SCHEMA relay, outbox, tasks, inbox TO outbox_auditor;

    -- Every part compares the schema's version at start, so setup lets everybody read it.
    GRANT USAGE ON SCHEMA outbox_setup TO PUBLIC;
    GRANT SELECT ON outbox_setup.applied TO PUBLIC;

    IF guest THEN
        EXECUTE format('REVOKE outbox_owner FROM %I', current_user);
    END IF;
END $$;
