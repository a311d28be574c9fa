-- Claims the tasks that deliveries name: pending -> running for each (id, version) that is the row's own. Returns the
-- state of every named row afterwards. It shows the caller why a task was not claimed, or that the same worker had
-- claimed it before its connection broke.
--
-- Rows are locked in every state: a locked row is read in its latest version, not in the version of the statement's
-- snapshot (https://www.postgresql.org/docs/current/transaction-iso.html#XACT-READ-COMMITTED). A row that another
-- transaction has locked is not waited for, since a whole batch would wait: `locked` is true, and its columns are NULL.
--
-- `waited` is for how many seconds the row had its state before.
--
-- A missing row alone proves nothing: a commit is in the WAL before snapshots see it, for as long as a synchronous
-- standby takes to answer. `asked` is a transaction id that was assigned after the delivery had arrived. When every
-- transaction below it has ended and the row is still missing, the task does not exist: `absent` is true. For a locked
-- row neither says anything, and no id is assigned.
WITH wanted AS (
    SELECT * FROM unnest(%(ids)s::uuid[], %(versions)s::bigint[], %(asked)s::xid8[])
        WITH ORDINALITY AS wanted (id, version, asked, position)
), found AS MATERIALIZED (
    SELECT id, type, payload, status, version, attempts, max_attempts, claimed_by,
           extract(epoch FROM clock_timestamp() - updated_at)::float8 AS waited
    FROM tasks.task WHERE id = ANY (%(ids)s::uuid[])
    ORDER BY id FOR NO KEY UPDATE SKIP LOCKED
), claimed AS (
    UPDATE tasks.task
    SET status = 'running', version = task.version + 1, attempts = task.attempts + 1, claimed_by = %(worker)s,
        lease_until = clock_timestamp() + make_interval(secs => %(lease)s), updated_at = clock_timestamp()
    FROM found JOIN wanted ON wanted.id = found.id AND wanted.version = found.version
    WHERE task.id = found.id AND found.status = 'pending'
    RETURNING task.id, task.status, task.version, task.attempts, task.claimed_by
)
SELECT found.type,
       coalesce(claimed.status, found.status) AS status,
       coalesce(claimed.version, found.version) AS version,
       coalesce(claimed.attempts, found.attempts) AS attempts,
       found.max_attempts,
       coalesce(claimed.claimed_by, found.claimed_by) AS claimed_by,
       found.payload,
       found.waited,
       CASE WHEN found.id IS NULL AND NOT EXISTS (SELECT FROM tasks.task WHERE task.id = wanted.id)
            THEN coalesce(wanted.asked, pg_current_xact_id())::text END AS asked,
       found.id IS NULL AND coalesce(wanted.asked <= pg_snapshot_xmin(pg_current_snapshot()), false) AS absent,
       found.id IS NULL AND EXISTS (SELECT FROM tasks.task WHERE task.id = wanted.id) AS locked
FROM wanted LEFT JOIN found ON found.id = wanted.id LEFT JOIN claimed ON claimed.id = wanted.id
ORDER BY wanted.position
