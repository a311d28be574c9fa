-- One lock, if it is held.
SELECT name, locked_by, started_at, locked_until, epoch, ended_at
FROM tasks.lock WHERE name = %(name)s AND locked_until > clock_timestamp()
