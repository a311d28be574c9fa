-- How many tasks have not ended, by status and type: at most `limit` of each status are counted, by its index. The order is
-- the index's, so that no other plan is cheaper.
WITH found AS (
    (SELECT status, type FROM tasks.task WHERE status = 'pending' ORDER BY updated_at LIMIT %(limit)s)
    UNION ALL
    (SELECT status, type FROM tasks.task WHERE status = 'scheduled' ORDER BY run_at LIMIT %(limit)s)
    UNION ALL
    (SELECT status, type FROM tasks.task WHERE status = 'dead' ORDER BY updated_at, id LIMIT %(limit)s)
    UNION ALL
    (SELECT status, type FROM tasks.task WHERE lease_until IS NOT NULL ORDER BY lease_until LIMIT %(limit)s)
)
SELECT status, type, count(*) FROM found GROUP BY status, type ORDER BY status, count(*) DESC, type
