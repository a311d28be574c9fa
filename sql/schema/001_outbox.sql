-- The outbox: rows are inserted only, inside the transaction of the business change, and never updated.
-- https://www.postgresql.org/docs/current/ddl-partitioning.html

CREATE SCHEMA outbox;

CREATE TABLE outbox.event (
    id                uuid        NOT NULL DEFAULT gen_random_uuid(),
    seq               bigint      NOT NULL GENERATED ALWAYS AS IDENTITY,
    tx                xid8        NOT NULL DEFAULT pg_current_xact_id(),
    aggregate_type    text        NOT NULL,
    aggregate_id      text        NOT NULL,
    aggregate_version bigint      NOT NULL,
    event_type        text        NOT NULL,
    payload           jsonb       NOT NULL,
    headers           jsonb       NOT NULL DEFAULT '{}',
    exchange          text,
    routing_key       text,
    created_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- A constraint's name is all that a writer sees of it, so the name is the message.
    CONSTRAINT "aggregate_type must not be empty" CHECK (aggregate_type <> ''),
    CONSTRAINT "aggregate_id must not be empty" CHECK (aggregate_id <> ''),
    CONSTRAINT "event_type must not be empty" CHECK (event_type <> ''),
    -- A value whose JSON passes 1 GB can never be decoded again and would wedge the slot; RabbitMQ 4 takes 16 MiB.
    CONSTRAINT "payload must be at most 1 MiB (1048576 bytes) as JSON text"
        CHECK (octet_length(payload::text) <= 1048576),
    CONSTRAINT "headers must be a JSON object" CHECK (jsonb_typeof(headers) = 'object'),
    CONSTRAINT "headers must be at most 32 KiB (32768 bytes) as JSON text"
        CHECK (octet_length(headers::text) <= 32768),
    -- A JSON parser recurses: what nests without end cannot be read back everywhere.
    CONSTRAINT "headers must hold at most 200 objects and arrays"
        CHECK (length(headers::text) - length(translate(headers::text, '{[', '')) <= 200),
    -- AMQP 0-9-1 short strings: exchange, routing key and type hold 255 bytes.
    CONSTRAINT "aggregate_type.event_type must be at most 255 bytes"
        CHECK (octet_length(aggregate_type) + octet_length(event_type) < 255),
    CONSTRAINT "exchange must be at most 255 bytes" CHECK (octet_length(exchange) <= 255),
    CONSTRAINT "routing_key must be at most 255 bytes" CHECK (octet_length(routing_key) <= 255)
) PARTITION BY RANGE (created_at);

CREATE INDEX event_tx ON outbox.event (tx);

-- Takes the rows for which no day is there, so that a writer's insert never fails for want of a partition.
CREATE TABLE outbox.event_default PARTITION OF outbox.event DEFAULT;

COMMENT ON TABLE outbox.event IS 'Events to publish. Insert only; removed by dropping whole partitions.';
COMMENT ON COLUMN outbox.event.id IS 'The message id: the same on every publish of this event.';
COMMENT ON COLUMN outbox.event.seq IS 'Insert order, which is neither commit order nor without gaps.';
COMMENT ON COLUMN outbox.event.tx IS 'The inserting transaction, for reading by snapshot.';

-- Makes the partitions of today and the next `days` days (UTC); returns how many it made. It never fails and never
-- makes a writer fail or wait long: a day that it cannot make now is left to the default partition, with a warning.
--
-- It attaches rather than creates in place: ATTACH takes no lock on outbox.event that blocks writers, but locks the
-- default partition against everything (https://www.postgresql.org/docs/current/sql-altertable.html). So it gives
-- up after two seconds rather than queue behind a long transaction there.
CREATE FUNCTION outbox.create_partitions(days integer DEFAULT 7) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s' SET timezone = 'UTC'
AS $$
DECLARE
    made integer := 0;
    day date;
    name text;
BEGIN
    IF NOT pg_try_advisory_xact_lock(hashtextextended('outbox.create_partitions', 0)) THEN
        RETURN 0;  -- somebody else is at it
    END IF;
    FOR day IN SELECT CURRENT_DATE + n FROM generate_series(0, days) AS n LOOP
        name := 'event_' || to_char(day, 'YYYYMMDD');
        CONTINUE WHEN to_regclass('outbox.' || name) IS NOT NULL;
        BEGIN
            -- ATTACH would find these rows and refuse.
            CONTINUE WHEN EXISTS (
                SELECT FROM outbox.event_default WHERE created_at >= day AND created_at < day + 1);
            -- A row of today that is on its way into the default partition while today gets its own would be
            -- refused on arrival. So today is made only when nobody is writing at this moment.
            IF day = CURRENT_DATE THEN
                LOCK TABLE outbox.event IN SHARE ROW EXCLUSIVE MODE NOWAIT;
            END IF;
            EXECUTE format('CREATE TABLE outbox.%I (LIKE outbox.event INCLUDING DEFAULTS INCLUDING CONSTRAINTS)', name);
            EXECUTE format('ALTER TABLE outbox.event ATTACH PARTITION outbox.%I FOR VALUES FROM (%L) TO (%L)',
                           name, day::timestamptz, (day + 1)::timestamptz);
            made := made + 1;
        EXCEPTION
            WHEN check_violation THEN  -- a row of that day came into the default partition meanwhile
                RAISE WARNING 'outbox.%: left to the default partition: %', name, SQLERRM;
            WHEN lock_not_available THEN
                RAISE WARNING 'outbox.%: left to the default partition: %', name, SQLERRM;
                EXIT WHEN day > CURRENT_DATE;  -- the days after it would wait for the same transaction
        END;
    END LOOP;
    RETURN made;
END $$;

-- Writes one event in the caller's transaction and returns its id.
CREATE FUNCTION outbox.publish(
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
BEGIN ATOMIC
    INSERT INTO outbox.event
        (id, aggregate_type, aggregate_id, aggregate_version, event_type, payload, headers, exchange, routing_key)
    VALUES
        (id, aggregate_type, aggregate_id, aggregate_version, event_type, payload, headers, exchange, routing_key);
    SELECT id;  -- not RETURNING, which asks for the right to read: INSERT is all that a writer needs
END;
