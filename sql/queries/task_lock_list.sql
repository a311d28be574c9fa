-- The locks that are held: no job of these names begins now. The longest held first.
SELECT name, locked_by, started_at, locked_until, epoch, ended_at
FROM tasks.lock WHERE locked_until > clock_timestamp() ORDER BY started_at, name
