-- The claims that were made, or asked to stop, longest ago: at most `limit`. What is sorted are the claims that there are.
SELECT id, type, status, attempts, claimed_by, extract(epoch FROM clock_timestamp() - updated_at)::float8 AS seconds,
       extract(epoch FROM lease_until - clock_timestamp())::float8 AS lease_seconds
FROM tasks.task WHERE lease_until IS NOT NULL ORDER BY updated_at LIMIT %(limit)s
