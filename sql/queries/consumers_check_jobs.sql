-- For how many seconds no consumer has begun one of the project's own jobs; NULL if none is recorded.
SELECT extract(epoch FROM clock_timestamp() - max(started_at))::float8 AS seconds FROM tasks.lock WHERE name LIKE 'consumers.%'
