-- Adds a job of graphile-worker for each event, in the transaction that writes it, by its function for many jobs. Its schema is
-- there already.
CREATE FUNCTION bench.add_jobs() RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
    PERFORM graphile_worker.add_jobs(array_agg(
        ROW('event',
            json_build_object('event_id', id, 'aggregate_id', aggregate_id, 'version', aggregate_version,
                              'number', headers -> 'number'),
            NULL, NULL, NULL, NULL, NULL, NULL)::graphile_worker.job_spec
        ORDER BY seq))
    FROM written;
    RETURN NULL;
END $$;

CREATE TRIGGER bench_add_jobs AFTER INSERT ON outbox.event
REFERENCING NEW TABLE AS written FOR EACH STATEMENT EXECUTE FUNCTION bench.add_jobs();
