-- What follows a failed attempt: another one later, or the end of the task. A task is `failed` only within the transaction that
-- writes it: no program has to come back to it, so none can be lost on the way.

-- Decides about a task that is `failed` or was given back, in the transaction that made it so: to be tried again after `delay`
-- seconds by the database's clock, or dead if `delay` is NULL. Returns the state afterwards. It has the caller's rights.
CREATE FUNCTION tasks.end_attempt(task_id uuid, at_version bigint, delay double precision) RETURNS text
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    ended text;
BEGIN
    UPDATE tasks.task
    SET status = CASE WHEN delay IS NULL THEN 'dead' ELSE 'scheduled' END, version = version + 1,
        run_at = CASE WHEN delay IS NULL THEN run_at ELSE clock_timestamp() + make_interval(secs => delay) END
    WHERE id = task_id AND version = at_version
    RETURNING status INTO STRICT ended;
    RETURN ended;
END $$;

-- Consumers of earlier versions left tasks `failed`, and do so until the last of them has ended. Nothing would ever try them again:
-- the job that releases expired leases makes them dead (tasks.end_expired_claims), and an operator decides about them.
CREATE INDEX task_failed ON tasks.task (id) WHERE status = 'failed';
