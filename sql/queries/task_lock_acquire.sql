-- Takes a job's lock if it is free, and shows who has it afterwards. The casts let a value that does not fit be named.
SELECT acquired, epoch, locked_until, held_by, extract(epoch FROM held_for)::float8 AS held_for,
       extract(epoch FROM locked_until - started_at)::float8 AS ends_at, ended_at IS NOT NULL AS ended
FROM tasks.acquire_lock(%(name)s::text, make_interval(secs => %(at_most)s), %(holder)s::text)
