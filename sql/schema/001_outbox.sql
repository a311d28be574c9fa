-- The outbox: rows are inserted only, inside the transaction of the business change, and never updated.
-- https://www.postgresql.org/docs/current/ddl-partitioning.html

CREATE SCHEMA outbox;

CREATE TABLE outbox.event (
    id                uuid        NOT NULL DEFAULT gen_random_uuid(),
    seq               bigint      NOT NULL GENERATED ALWAYS AS IDENTITY,
    tx                xid8        NOT NULL DEFAULT pg_current_xact_id(),
    aggregate_type    text        NOT NULL CHECK (aggregate_type <> ''),
    aggregate_id      text        NOT NULL CHECK (aggregate_id <> ''),
    aggregate_version bigint      NOT NULL,
    event_type        text        NOT NULL CHECK (event_type <> ''),
    payload           jsonb       NOT NULL,
    headers           jsonb       NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(headers) = 'object'),
    exchange          text        CHECK (octet_length(exchange) <= 255),
    routing_key       text        CHECK (octet_length(routing_key) <= 255),
    created_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- A constraint's name is all that a writer sees of it, so the name is the message.
    -- A value whose JSON passes 1 GB can never be decoded again and would wedge the slot; RabbitMQ 4 takes 16 MiB.
    CONSTRAINT "payload must be at most 1 MiB (1048576 bytes) as JSON text"
        CHECK (octet_length(payload::text) <= 1048576),
    CONSTRAINT "headers must be at most 32 KiB (32768 bytes) as JSON text"
        CHECK (octet_length(headers::text) <= 32768),
    -- AMQP 0-9-1 short strings: routing key and type hold 255 bytes.
    CONSTRAINT "aggregate_type.event_type must be at most 255 bytes"
        CHECK (octet_length(aggregate_type) + octet_length(event_type) < 255)
) PARTITION BY RANGE (created_at);

CREATE INDEX event_tx ON outbox.event (tx);

-- Takes the rows for which no day is there, so that a writer's insert never fails for want of a partition.
CREATE TABLE outbox.event_default PARTITION OF outbox.event DEFAULT;

COMMENT ON TABLE outbox.event IS 'Events to publish. Insert only; removed by dropping whole partitions.';
COMMENT ON COLUMN outbox.event.id IS 'The message id: the same on every publish of this event.';
COMMENT ON COLUMN outbox.event.seq IS 'Insert order, which is neither commit order nor without gaps.';
COMMENT ON COLUMN outbox.event.tx IS 'The inserting transaction, for reading by snapshot.';

-- Makes the partitions of today and the next `days` days (UTC); returns how many it made.
-- It attaches rather than creates in place: ATTACH takes no lock that blocks writers on outbox.event
-- (https://www.postgresql.org/docs/current/sql-altertable.html), and gives up after two seconds rather than
-- queue behind a long transaction in the default partition. A day of which the default partition already
-- holds rows is left there.
CREATE FUNCTION outbox.create_partitions(days integer DEFAULT 7) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s' SET timezone = 'UTC'
AS $$
DECLARE
    made integer := 0;
    day date;
    name text;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('outbox.create_partitions', 0));
    FOR day IN SELECT CURRENT_DATE + n FROM generate_series(0, days) AS n LOOP
        name := 'event_' || to_char(day, 'YYYYMMDD');
        CONTINUE WHEN to_regclass('outbox.' || name) IS NOT NULL;
        CONTINUE WHEN EXISTS (
            SELECT FROM outbox.event_default WHERE created_at >= day AND created_at < day + 1);
        EXECUTE format('CREATE TABLE outbox.%I (LIKE outbox.event INCLUDING DEFAULTS INCLUDING CONSTRAINTS)', name);
        EXECUTE format('ALTER TABLE outbox.event ATTACH PARTITION outbox.%I FOR VALUES FROM (%L) TO (%L)',
                       name, day::timestamptz, (day + 1)::timestamptz);
        made := made + 1;
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
        (id, aggregate_type, aggregate_id, aggregate_version, event_type, payload, headers, exchange, routing_key)
    RETURNING event.id;
END;
