-- A role for each part of the product, with only the rights that it needs. Plain SQL: run it as a superuser in the
-- outbox's database before `relay setup`, and again after it; repeating it changes nothing:
--
--     psql --set ON_ERROR_STOP=1 --file sql/roles.sql <database>
--
-- The first run creates the roles, so that `relay setup` can run as outbox_owner; the second one grants rights on what
-- setup created. It revokes no other grants. For other names replace `outbox_` everywhere: roles belong to the whole
-- cluster, so a second outbox in it needs roles of its own. It sets no passwords: \password <role>.
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
        -- runs `relay setup` and nothing else: owns the schema; REPLICATION is for making the slot
        ('outbox_owner',    'LOGIN REPLICATION CONNECTION LIMIT 5'),
        -- runs `relay run`, `check`, `status`, `tail` and `slot`: up to four sessions for the active relay, two for a standby
        ('outbox_relay',    'LOGIN REPLICATION CONNECTION LIMIT 10'),
        -- for people: `relay parked`; GRANT outbox_operator TO <person>
        ('outbox_operator', 'NOLOGIN'),
        -- for applications: write events and tasks; GRANT outbox_writer TO <application>
        ('outbox_writer',   'NOLOGIN'),
        -- runs `consumers run`
        ('outbox_consumer', 'LOGIN'),
        -- for people and audits: read everything; GRANT outbox_auditor TO <person>
        ('outbox_auditor',  'NOLOGIN')
    ) AS wanted (name, attributes)
    LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role.name) THEN
            EXECUTE format('CREATE ROLE %I', role.name);
        END IF;
        EXECUTE format('ALTER ROLE %I NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS %s', role.name, role.attributes);
    END LOOP;

    -- The schema's record is a table in public, where PostgreSQL 15 and later let only the database's owner create.
    EXECUTE format('GRANT CREATE ON DATABASE %I TO outbox_owner', current_database());
    GRANT USAGE, CREATE ON SCHEMA public TO outbox_owner;
END $$;

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_namespace WHERE nspname = 'relay') THEN
        RAISE NOTICE 'the roles are created; run `relay setup` as outbox_owner, then this file again for their grants';
        RETURN;
    END IF;

    -- This function runs with its owner's rights, so only the relay may call it.
    REVOKE EXECUTE ON FUNCTION outbox.create_partitions(integer) FROM PUBLIC;

    -- An event is written by column: tx and seq are the outbox's own. A redriven event is written again by the operator, and
    -- a task that runs again is announced again by its consumer. An earlier version granted the whole table.
    REVOKE INSERT ON outbox.event FROM outbox_writer, outbox_consumer, outbox_operator;
    GRANT INSERT (id, aggregate_type, aggregate_id, aggregate_version, event_type, payload, headers, exchange, routing_key,
                  created_at) ON outbox.event TO outbox_writer, outbox_consumer, outbox_operator;

    GRANT USAGE ON SCHEMA relay, outbox TO outbox_relay;
    GRANT SELECT, INSERT, UPDATE ON relay.checkpoint, relay.parked TO outbox_relay;
    GRANT EXECUTE ON FUNCTION outbox.create_partitions(integer) TO outbox_relay;
    GRANT SELECT ON outbox.event, public.outbox_relay_schema TO outbox_relay;

    GRANT USAGE ON SCHEMA relay, outbox TO outbox_operator;
    GRANT SELECT, UPDATE ON relay.parked TO outbox_operator;

    GRANT USAGE ON SCHEMA outbox, tasks TO outbox_writer;
    GRANT INSERT ON tasks.task TO outbox_writer;
    GRANT SELECT (id) ON tasks.task TO outbox_writer;  -- to see whether a COMMIT without an answer took place

    GRANT USAGE ON SCHEMA outbox, tasks TO outbox_consumer;
    GRANT SELECT, UPDATE ON tasks.task TO outbox_consumer;
    GRANT SELECT ON tasks.transition TO outbox_consumer;

    GRANT USAGE ON SCHEMA relay, outbox, tasks TO outbox_auditor;
    GRANT SELECT ON ALL TABLES IN SCHEMA relay, outbox, tasks TO outbox_auditor;
    GRANT SELECT ON public.outbox_relay_schema TO outbox_auditor;
END $$;
