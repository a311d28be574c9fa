-- Takes a lock away from whoever has it.
SELECT %(name)s::text AS name, locked_by, started_at, locked_until, epoch, ended_at FROM tasks.free_lock(%(name)s::text)
