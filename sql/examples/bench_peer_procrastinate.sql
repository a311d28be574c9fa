-- Defers a job of Procrastinate for each event, in the transaction that writes it, by the function that its own library calls.
-- Its schema is there already.
CREATE FUNCTION bench.defer_jobs() RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
    PERFORM public.procrastinate_defer_jobs_v1(array_agg(
        ROW('default', 'event', 0, NULL, NULL,
            jsonb_build_object('event_id', id, 'aggregate_id', aggregate_id, 'version', aggregate_version,
                               'number', headers -> 'number'),
            NULL)::public.procrastinate_job_to_defer_v1
        ORDER BY seq))
    FROM written;
    RETURN NULL;
END $$;

CREATE TRIGGER bench_defer_jobs AFTER INSERT ON outbox.event
REFERENCING NEW TABLE AS written FOR EACH STATEMENT EXECUTE FUNCTION bench.defer_jobs();
