-- Used by the benchmarks of tasks in their own databases, beside bench.sql: submitters that need no CPU of a client.

-- Submits every `sessions`-th of `events` tasks, one in each transaction and each when it is due, as bench.write_evenly does.
CREATE PROCEDURE bench.submit_evenly(
    begins timestamptz, session integer, sessions integer, rate integer, events integer, type text)
LANGUAGE plpgsql
AS $$
BEGIN
    FOR n IN session .. events BY sessions LOOP
        PERFORM pg_sleep(extract(epoch FROM begins + make_interval(secs => n::float8 / rate) - clock_timestamp()));
        PERFORM tasks.submit(type, '{}'::jsonb);
        COMMIT;
    END LOOP;
END $$;
