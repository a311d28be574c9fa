-- How many tasks were completed within the last minute, and within how many seconds: the last `limit` of them are read, by
-- their index. NULL seconds mean a whole minute.
SELECT count(*), CASE WHEN count(*) = %(limit)s THEN extract(epoch FROM clock_timestamp() - min(updated_at))::float8 END AS seconds
FROM (
    SELECT updated_at FROM tasks.task
    WHERE status = 'completed' AND status IN ('completed', 'cancelled') AND updated_at > (SELECT clock_timestamp() - interval '1 min')
    ORDER BY updated_at DESC LIMIT %(limit)s
) AS completed
