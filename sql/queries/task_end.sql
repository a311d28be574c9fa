-- Ends running tasks: writes completed, failed or pending (announced in the same transaction) for each (id, version)
-- that is still the row's own. Returns the state of each row afterwards. It is also the written state if an earlier
-- attempt committed before its connection broke: only the claim's owner can write that transition at that version.
-- Rows are locked in the order of their ids, as in task_claim.
WITH outcome AS (
    SELECT * FROM unnest(%(ids)s::uuid[], %(versions)s::bigint[], %(statuses)s::text[], %(results)s::text[],
                         %(errors)s::text[])
        WITH ORDINALITY AS outcome (id, version, status, result, error, position)
), found AS MATERIALIZED (
    SELECT id, status, version FROM tasks.task WHERE id = ANY (%(ids)s::uuid[])
    ORDER BY id FOR NO KEY UPDATE
), written AS (
    UPDATE tasks.task
    SET status = outcome.status, version = task.version + 1, lease_until = NULL, claimed_by = NULL,
        result = outcome.result::jsonb,
        last_error = CASE WHEN outcome.status = 'pending' THEN task.last_error ELSE outcome.error END
    FROM found JOIN outcome ON outcome.id = found.id AND outcome.version = found.version
    WHERE task.id = found.id AND found.status = 'running'
    RETURNING outcome.position, task.id, task.type, task.status, task.version
)
SELECT coalesce(written.status, found.status) AS status,
       coalesce(written.version, found.version) AS version,
       CASE WHEN written.status = 'pending' THEN tasks.announce(written.id, written.type, written.version) END
           AS announced
FROM outcome LEFT JOIN found ON found.id = outcome.id LEFT JOIN written ON written.position = outcome.position
ORDER BY outcome.position
