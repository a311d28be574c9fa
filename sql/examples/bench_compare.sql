-- Used by `bench compare` in its own databases, beside bench.sql: writers that follow a schedule, a consumer's table, and what
-- the writers saw. Nothing here is written by a relay.

-- What the application's aggregates are. A transaction locks the rows of those that it writes to until its end, so versions
-- rise in the order of commits.
CREATE TABLE bench.aggregate (id integer PRIMARY KEY, version bigint NOT NULL DEFAULT 0) WITH (fillfactor = 50);

-- Texts that compression gains nothing from, by their length.
CREATE TABLE bench.padding (bytes integer PRIMARY KEY, text text NOT NULL);

-- When each transaction of a load was committed, in seconds since 1970, as its writer saw it.
CREATE TABLE bench.committed (load integer NOT NULL, number integer NOT NULL, at float8 NOT NULL);

-- What a consumer has applied: the version of each aggregate. It is unlogged, so that the WAL is the writers' and the relay's.
CREATE UNLOGGED TABLE bench.applied (aggregate_id text PRIMARY KEY, version bigint NOT NULL) WITH (fillfactor = 50);

-- Writes the events of one transaction to `span` aggregates from `first` on.
CREATE PROCEDURE bench.write_transaction(number integer, row_count integer, payload_bytes integer, first integer, span integer)
LANGUAGE plpgsql
AS $$
BEGIN
    PERFORM FROM bench.aggregate WHERE id >= first AND id < first + span ORDER BY id FOR UPDATE;
    INSERT INTO outbox.event (aggregate_type, aggregate_id, aggregate_version, event_type, payload, headers)
    SELECT 'order', 'aggregate-' || aggregate.id, aggregate.version + n / span + 1, 'placed',
           jsonb_build_object('n', n, 'padding', padding.text), jsonb_build_object('number', number)
    FROM generate_series(0, row_count - 1) AS n
    JOIN bench.aggregate ON aggregate.id = first + n % span
    JOIN bench.padding ON padding.bytes = payload_bytes
    ORDER BY n;
    UPDATE bench.aggregate SET version = version + row_count / span + (id - first < row_count % span)::integer
    WHERE id >= first AND id < first + span;
END $$;

-- Writes the transactions of one session of a load: each begins when it is due, and stays open for `opens` seconds after it has
-- written. A late one begins at once.
CREATE PROCEDURE bench.write_schedule(
    load integer, begins float8, numbers integer[], dues float8[], opens float8[], rollbacks boolean[],
    row_counts integer[], payloads integer[], firsts integer[], spans integer[])
LANGUAGE plpgsql
AS $$
DECLARE
    done integer[] := '{}';
    times float8[] := '{}';
BEGIN
    FOR i IN 1 .. cardinality(numbers) LOOP
        PERFORM pg_sleep(begins + dues[i] - extract(epoch FROM clock_timestamp())::float8);
        CALL bench.write_transaction(numbers[i], row_counts[i], payloads[i], firsts[i], spans[i]);
        IF opens[i] > 0 THEN
            PERFORM pg_sleep(opens[i]);
        END IF;
        IF rollbacks[i] THEN
            ROLLBACK;
        ELSE
            COMMIT;
            done := done || numbers[i];
            times := times || extract(epoch FROM clock_timestamp())::float8;
        END IF;
    END LOOP;
    INSERT INTO bench.committed SELECT load, number, at FROM unnest(done, times) AS seen (number, at);
END $$;
