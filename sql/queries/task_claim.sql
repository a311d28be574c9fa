-- Claims the tasks that deliveries name: pending -> running for each (id, version) that is the row's own, and the
-- state of every named row afterwards, from which the caller tells why a task was not claimed, or that it had been
-- claimed by the same worker before its connection broke.
--
-- Rows are locked in the order of their ids, so that two consumers with overlapping batches wait for each other
-- rather than deadlock; and they are locked whatever their state, because a locked row is read as it is now and not
-- as the statement's snapshot has it (https://www.postgresql.org/docs/current/transaction-iso.html#XACT-READ-COMMITTED).
--
-- A missing row proves nothing by itself: the WAL tells of a commit before it becomes visible to snapshots, for as
-- long as a synchronous standby takes to answer. `asked` is a transaction id drawn after the delivery had arrived;
-- once every transaction below it has ended, a row that is still missing does not exist, and `absent` is true.
WITH wanted AS (
    SELECT * FROM unnest(%(ids)s::uuid[], %(versions)s::bigint[], %(asked)s::xid8[])
        WITH ORDINALITY AS wanted (id, version, asked, position)
), found AS MATERIALIZED (
    SELECT id, type, payload, status, version, attempts, claimed_by
    FROM tasks.task WHERE id = ANY (%(ids)s::uuid[])
    ORDER BY id FOR NO KEY UPDATE
), claimed AS (
    UPDATE tasks.task
    SET status = 'running', version = task.version + 1, attempts = task.attempts + 1, claimed_by = %(worker)s,
        lease_until = clock_timestamp() + make_interval(secs => %(lease)s)
    FROM found JOIN wanted ON wanted.id = found.id AND wanted.version = found.version
    WHERE task.id = found.id AND found.status = 'pending'
    RETURNING task.id, task.status, task.version, task.attempts, task.claimed_by
)
SELECT found.type,
       coalesce(claimed.status, found.status) AS status,
       coalesce(claimed.version, found.version) AS version,
       coalesce(claimed.attempts, found.attempts) AS attempts,
       coalesce(claimed.claimed_by, found.claimed_by) AS claimed_by,
       found.payload,
       CASE WHEN found.id IS NULL THEN coalesce(wanted.asked, pg_current_xact_id())::text END AS asked,
       found.id IS NULL AND coalesce(wanted.asked <= pg_snapshot_xmin(pg_current_snapshot()), false) AS absent
FROM wanted LEFT JOIN found ON found.id = wanted.id LEFT JOIN claimed ON claimed.id = wanted.id
ORDER BY wanted.position
