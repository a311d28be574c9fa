-- Used by the benchmarks in their own databases: writers that need no CPU of a client, and a slot that can be rewound.
CREATE SCHEMA bench;

-- Writes `how_many` events of about 350 bytes on the wire, numbered from `first`.
CREATE PROCEDURE bench.write(first integer, how_many integer)
LANGUAGE sql
AS $$
    INSERT INTO outbox.event (aggregate_type, aggregate_id, aggregate_version, event_type, payload)
    SELECT 'order', 'order-' || n % 1000, n / 1000 + 1, 'placed',
           jsonb_build_object('order', n, 'customer', 'customer-' || n % 5000, 'currency', 'EUR', 'total', n % 100000,
                              'lines', jsonb_build_array(n % 17, n % 31, n % 57), 'note', repeat('x', 60))
    FROM generate_series(first, first + how_many - 1) AS n
$$;

-- Writes `events` events, `per_transaction` in each transaction.
CREATE PROCEDURE bench.write_backlog(events integer, per_transaction integer)
LANGUAGE plpgsql
AS $$
BEGIN
    FOR n IN 1 .. events BY per_transaction LOOP
        CALL bench.write(n, least(per_transaction, events - n + 1));
        COMMIT;
    END LOOP;
END $$;

-- Writes every `sessions`-th of `events` events, one in each transaction and each when it is due: `rate` per second over
-- all sessions, starting at `begins`. It never sleeps in a transaction that has written.
CREATE PROCEDURE bench.write_evenly(begins timestamptz, session integer, sessions integer, rate integer, events integer)
LANGUAGE plpgsql
AS $$
BEGIN
    FOR n IN session .. events BY sessions LOOP
        PERFORM pg_sleep(extract(epoch FROM begins + make_interval(secs => n::float8 / rate) - clock_timestamp()));
        CALL bench.write(n, 1);
        COMMIT;
    END LOOP;
END $$;

-- Makes `slot` a new copy of `origin`, and deletes the relay's position, so that it publishes the same backlog again.
CREATE FUNCTION bench.rewind(origin name, slot name) RETURNS void
LANGUAGE plpgsql
AS $$
BEGIN
    PERFORM pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = slot;
    PERFORM pg_copy_logical_replication_slot(origin, slot);
    DELETE FROM relay.checkpoint;
END $$;
