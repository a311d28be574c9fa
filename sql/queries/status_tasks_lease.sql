-- For how many seconds the oldest lease has been over; negative if it is not, NULL if there is none.
SELECT extract(epoch FROM clock_timestamp() - (SELECT lease_until FROM tasks.task WHERE lease_until IS NOT NULL ORDER BY lease_until LIMIT 1))::float8
