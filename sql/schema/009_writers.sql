-- What RabbitMQ's own client for Go refuses closes its connection, and the message comes back for ever: more than 32 objects
-- and arrays inside each other (the headers object itself is not counted), or more than 8192 items in one array
-- (amqp091-go, read.go). The same limit for the names of an object is out of reach of 32 KiB. These two checks are exact, so
-- the count of all objects and arrays goes.
--
-- NOT VALID: older rows are not read, so the table is locked for a moment only; the relay parks an event that breaks a limit.
-- The lock waits for every open transaction that has used the table, and new writers wait behind it. So it gives up after two
-- seconds, lets them pass, and tries again.
DO $$
DECLARE
    tries  integer := 0;
    before text    := current_setting('lock_timeout');
BEGIN
    LOOP
        BEGIN
            SET LOCAL lock_timeout = '2s';
            ALTER TABLE outbox.event
                DROP CONSTRAINT "headers must hold at most 200 objects and arrays",
                ADD CONSTRAINT "headers must nest at most 32 objects and arrays" CHECK (NOT jsonb_path_exists(
                    headers, 'strict $.**{33 to last} ? (@.type() == "object" || @.type() == "array")')) NOT VALID,
                ADD CONSTRAINT "an array in headers must hold at most 8192 items" CHECK (
                    octet_length(headers::text) <= 24576  -- too short for so many
                    OR NOT jsonb_path_exists(headers, 'strict $.** ? (@.type() == "array").size() ? (@ > 8192)')) NOT VALID;
            PERFORM set_config('lock_timeout', before, true);
            EXIT;
        EXCEPTION WHEN lock_not_available THEN
            tries := tries + 1;
            IF tries = 3 THEN
                RAISE EXCEPTION 'outbox.event cannot be changed while a transaction that has used it is open: process %', (
                    SELECT string_agg(DISTINCT pid::text, ', ')
                    FROM pg_locks JOIN pg_database ON pg_database.oid = pg_locks.database
                    WHERE datname = current_database() AND granted AND pid <> pg_backend_pid()
                      AND relation IN (SELECT relid FROM pg_partition_tree('outbox.event')))
                    USING ERRCODE = 'lock_not_available',
                    HINT = 'Wait until it ends, or end it with SELECT pg_terminate_backend(process); then repeat.';
            END IF;
            PERFORM pg_sleep(1);
        END;
    END LOOP;
END $$;

-- Writers in any language call outbox.publish and tasks.submit with the types that their driver sends: payload and headers
-- as text, json or jsonb, the aggregate's id as a number or uuid, NULL for what has a default.
--
-- A driver names a type for each value (JDBC: varchar) or leaves it to Postgres (lib/pq, node-postgres, literals). Where
-- both functions would fit, Postgres takes text for a value without a type, and the exact type for one that has one
-- (https://www.postgresql.org/docs/current/typeconv-func.html). The functions below are every combination of one type per
-- argument, so each argument is decided on its own and a call is never ambiguous. An optional argument has another type
-- only where it must be given: two functions that differ in what a call leaves out would be ambiguous.

-- What `value` is as JSON: text and bytes (in UTF-8) are JSON already, the rest is what to_jsonb makes of it. A driver may send
-- bytes without their type: as text that begins with \x, which no JSON does. An error names the argument and says how to mend
-- it.
CREATE FUNCTION outbox.as_json(argument text, value anyelement) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    reason text;
BEGIN
    IF pg_typeof(value) = 'bytea'::regtype OR pg_typeof(value) = 'text'::regtype AND starts_with(value::text, E'\\x') THEN
        RETURN convert_from(value::text::bytea, 'UTF8')::jsonb;
    ELSIF pg_typeof(value) = 'text'::regtype THEN
        RETURN value::text::jsonb;
    END IF;
    RETURN to_jsonb(value);
EXCEPTION WHEN data_exception THEN
    GET STACKED DIAGNOSTICS reason = PG_EXCEPTION_DETAIL;
    reason := coalesce(nullif(reason, ''), SQLERRM);
    IF SQLSTATE = '22P02' THEN
        RAISE EXCEPTION '% is not JSON: %', argument, reason USING ERRCODE = SQLSTATE, HINT = format(
            'Pass as %s what a JSON library writes, such as {"total": 120}; a string has quotes of its own: "paid".', argument);
    END IF;
    RAISE EXCEPTION '% cannot be stored as JSON: %', argument, reason
        USING ERRCODE = SQLSTATE, HINT = format('Take that part out of the %s.', argument);
END $$;

-- What every form of outbox.publish comes down to.
CREATE FUNCTION outbox.write_event(
    aggregate_type    text,
    aggregate_id      text,
    aggregate_version bigint,
    event_type        text,
    payload           jsonb,
    headers           jsonb,
    id                uuid,
    exchange          text,
    routing_key       text
) RETURNS uuid
LANGUAGE sql
BEGIN ATOMIC
    INSERT INTO outbox.event
        (id, aggregate_type, aggregate_id, aggregate_version, event_type, payload, headers, exchange, routing_key)
    VALUES
        (id, aggregate_type, aggregate_id, aggregate_version, event_type, payload, headers, exchange, routing_key);
    SELECT id;  -- not RETURNING, which asks for the right to read: INSERT is all that a writer needs
END;

CREATE OR REPLACE FUNCTION outbox.publish(
    aggregate_type    text,
    aggregate_id      text,
    aggregate_version bigint,
    event_type        text,
    payload           jsonb,
    headers           jsonb DEFAULT '{}',
    id                uuid  DEFAULT gen_random_uuid(),
    exchange          text  DEFAULT NULL,
    routing_key       text  DEFAULT NULL
) RETURNS uuid
LANGUAGE sql
RETURN outbox.write_event(aggregate_type, aggregate_id, aggregate_version, event_type, payload,
                          coalesce(headers, '{}'), coalesce(id, gen_random_uuid()), exchange, routing_key);

DO $$
DECLARE
    form record;
BEGIN
    FOR form IN
        SELECT * FROM (VALUES ('text'), ('anynonarray'))   AS aggregate_id (aggregate_id),
                      (VALUES ('text'), ('anycompatible')) AS payload (payload),
                      (VALUES ('headers text DEFAULT NULL, id uuid DEFAULT NULL'), ('headers text,  id text'),
                              ('headers json,              id uuid DEFAULT NULL'), ('headers json,  id text'),
                              ('headers jsonb,             id uuid DEFAULT NULL'), ('headers jsonb, id text'))
                          AS optional (headers_and_id)
    LOOP
        EXECUTE format($create$
            CREATE FUNCTION outbox.publish(
                aggregate_type text, aggregate_id %s, aggregate_version bigint, event_type text, payload %s,
                %s, exchange text DEFAULT NULL, routing_key text DEFAULT NULL) RETURNS uuid
            LANGUAGE sql AS $body$
                SELECT outbox.write_event(
                    aggregate_type, aggregate_id::text, aggregate_version, event_type, outbox.as_json('payload', payload),
                    coalesce(outbox.as_json('headers', headers), '{}'), coalesce(id::uuid, gen_random_uuid()),
                    exchange, routing_key)
            $body$ $create$, form.aggregate_id, form.payload, form.headers_and_id);
    END LOOP;
END $$;

-- What every form of tasks.submit comes down to.
CREATE FUNCTION tasks.write_task(type text, payload jsonb, max_attempts integer, headers jsonb, id uuid) RETURNS uuid
LANGUAGE sql
BEGIN ATOMIC
    INSERT INTO tasks.task (id, type, payload, max_attempts) VALUES (id, type, payload, max_attempts);
    SELECT tasks.announce(id, type, 1, headers);
    SELECT id;
END;

CREATE OR REPLACE FUNCTION tasks.submit(
    type         text,
    payload      jsonb   DEFAULT '{}',
    max_attempts integer DEFAULT 5,
    headers      jsonb   DEFAULT '{}',
    id           uuid    DEFAULT gen_random_uuid()
) RETURNS uuid
LANGUAGE sql
RETURN tasks.write_task(type, coalesce(payload, '{}'), coalesce(max_attempts, 5), coalesce(headers, '{}'),
                        coalesce(id, gen_random_uuid()));

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
            CREATE FUNCTION tasks.submit(type text, payload %s, max_attempts %s) RETURNS uuid
            LANGUAGE sql AS $body$
                SELECT tasks.write_task(
                    type, coalesce(outbox.as_json('payload', payload), '{}'), coalesce(max_attempts, 5)::integer,
                    coalesce(outbox.as_json('headers', headers), '{}'), coalesce(id::uuid, gen_random_uuid()))
            $body$ $create$, form.payload, form.from_max_attempts);
    END LOOP;
END $$;
