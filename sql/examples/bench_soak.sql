-- The soak's own table of runs: append-only, without a unique constraint, so that a task that ran twice at one version has two
-- rows. Each run commits its row before it does anything else.
CREATE TABLE bench.run (
    task_id uuid   NOT NULL,
    version bigint NOT NULL,
    worker  text   NOT NULL
);
CREATE INDEX ON bench.run (task_id);

-- Submits `tasks` tasks, a hundred in each transaction: of a hundred, four fail once or twice, one fails always, one hangs for
-- `hang` seconds. `seed`, from 0 to 1, draws which.
CREATE PROCEDURE bench.submit_soak(tasks integer, hang float8, seed float8)
LANGUAGE plpgsql
AS $$
DECLARE
    drawn float8;
BEGIN
    PERFORM setseed(seed);
    FOR n IN 1 .. tasks LOOP
        drawn := random();
        PERFORM tasks.submit('bench.soak', CASE
            WHEN drawn < 0.04 THEN jsonb_build_object('fails', CASE WHEN drawn < 0.02 THEN 1 ELSE 2 END)
            WHEN drawn < 0.05 THEN jsonb_build_object('fails', 1000)
            WHEN drawn < 0.06 THEN jsonb_build_object('hangs', hang)
            ELSE '{}'::jsonb END);
        IF mod(n, 100) = 0 THEN
            COMMIT;
        END IF;
    END LOOP;
END $$;
