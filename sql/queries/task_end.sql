-- Ends claims: writes completed, failed or pending (announced in the same transaction) for each (id, version) that is
-- still the row's own. Returns the state of each row afterwards. It is also the written state if an earlier attempt
-- committed before its connection broke: only the claim's owner can write that transition at that version.
--
-- A task that was asked to stop meanwhile has the claim's version plus one and is still the claimer's: it becomes
-- cancelled, whatever the handler returned. Status cancelled as an outcome does that and nothing else.
--
-- A failed task is tried again after `delay` seconds, or is dead: without a delay, and after its last attempt. A claim that
-- is given back counts as an attempt if `counted`, and after the last one the task is dead too; with a delay, it is pending
-- again only after that. Both are a second transition of the same row, in the same transaction (tasks.end_attempt).
--
-- Each row is compared in the version that was locked, as in task_claim. A row that another transaction has locked is
-- not waited for: `locked` is true, and nothing is written.
WITH outcome AS (
    SELECT * FROM unnest(%(ids)s::uuid[], %(versions)s::bigint[], %(statuses)s::text[], %(results)s::text[],
                         %(errors)s::text[], %(delays)s::float8[], %(counted)s::boolean[])
        WITH ORDINALITY AS outcome (id, version, status, result, error, delay, counted, position)
), found AS MATERIALIZED (
    SELECT id, status, version, attempts, max_attempts FROM tasks.task WHERE id = ANY (%(ids)s::uuid[])
    ORDER BY id FOR NO KEY UPDATE SKIP LOCKED
), decided AS (
    SELECT outcome.position, found.id, found.version,
           CASE WHEN found.status = 'cancelling' THEN 'cancelled'
                WHEN outcome.status = 'pending' AND outcome.counted AND found.attempts >= found.max_attempts THEN 'failed'
                ELSE outcome.status END AS status,
           CASE WHEN found.status = 'running' AND outcome.status = 'pending' AND NOT outcome.counted
                    THEN greatest(found.attempts - 1, 0)
                ELSE found.attempts END AS attempts,
           CASE WHEN NOT outcome.counted OR found.attempts < found.max_attempts THEN outcome.delay END AS delay,
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
                          ELSE coalesce(decided.error, task.last_error) END,
        updated_at = clock_timestamp()
    FROM decided
    WHERE task.id = decided.id
    RETURNING decided.position, decided.delay, task.id, task.type, task.status, task.version
), ended AS MATERIALIZED (
    SELECT position,
           CASE WHEN status = 'failed' OR status = 'pending' AND delay IS NOT NULL
                THEN tasks.end_attempt(id, version, delay) END AS status,
           version,
           CASE WHEN status = 'pending' AND delay IS NULL THEN tasks.announce(id, type, version) END AS announced,
           status AS first_status
    FROM written
)
SELECT coalesce(ended.status, ended.first_status, found.status) AS status,
       coalesce(ended.version + CASE WHEN ended.status IS NULL THEN 0 ELSE 1 END, found.version) AS version,
       found.id IS NULL AND EXISTS (SELECT FROM tasks.task WHERE task.id = outcome.id) AS locked
FROM outcome LEFT JOIN found ON found.id = outcome.id LEFT JOIN ended ON ended.position = outcome.position
ORDER BY outcome.position
