-- Ends claims: writes completed, failed or pending (announced in the same transaction) for each (id, version) that is
-- still the row's own. Returns the state of each row afterwards. It is also the written state if an earlier attempt
-- committed before its connection broke: only the claim's owner can write that transition at that version.
--
-- A task that was asked to stop meanwhile has the claim's version plus one and is still the claimer's: it becomes
-- cancelled, whatever the handler returned. Status cancelled as an outcome does that and nothing else.
--
-- A claim that is given back counts as an attempt if `counted`; after the last attempt it is failed instead of pending.
--
-- Rows are locked in the order of their ids, as in task_claim, and each is compared in the version that was locked.
WITH outcome AS (
    SELECT * FROM unnest(%(ids)s::uuid[], %(versions)s::bigint[], %(statuses)s::text[], %(results)s::text[],
                         %(errors)s::text[], %(counted)s::boolean[])
        WITH ORDINALITY AS outcome (id, version, status, result, error, counted, position)
), found AS MATERIALIZED (
    SELECT id, status, version, attempts, max_attempts FROM tasks.task WHERE id = ANY (%(ids)s::uuid[])
    ORDER BY id FOR NO KEY UPDATE
), decided AS (
    SELECT outcome.position, found.id, found.version,
           CASE WHEN found.status = 'cancelling' THEN 'cancelled'
                WHEN outcome.status = 'pending' AND outcome.counted AND found.attempts >= found.max_attempts THEN 'failed'
                ELSE outcome.status END AS status,
           CASE WHEN found.status = 'running' AND outcome.status = 'pending' AND NOT outcome.counted
                    THEN greatest(found.attempts - 1, 0)
                ELSE found.attempts END AS attempts,
           CASE found.status WHEN 'running' THEN outcome.result::jsonb END AS result,
           outcome.error
    FROM outcome JOIN found ON found.id = outcome.id
    WHERE found.status = 'running' AND found.version = outcome.version AND outcome.status <> 'cancelled'
       OR found.status = 'cancelling' AND found.version = outcome.version + 1
), written AS (
    UPDATE tasks.task
    SET status = decided.status, version = decided.version + 1, lease_until = NULL, claimed_by = NULL,
        attempts = decided.attempts, result = decided.result,
        last_error = CASE WHEN decided.status IN ('completed', 'failed') THEN decided.error
                          ELSE coalesce(decided.error, task.last_error) END
    FROM decided
    WHERE task.id = decided.id
    RETURNING decided.position, task.id, task.type, task.status, task.version
)
SELECT coalesce(written.status, found.status) AS status,
       coalesce(written.version, found.version) AS version,
       CASE WHEN written.status = 'pending' THEN tasks.announce(written.id, written.type, written.version) END
           AS announced
FROM outcome LEFT JOIN found ON found.id = outcome.id LEFT JOIN written ON written.position = outcome.position
ORDER BY outcome.position
