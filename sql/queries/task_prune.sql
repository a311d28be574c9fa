-- Removes tasks that ended more than `keep` ago, at most `limit` at a time. Returns how many.
SELECT tasks.prune_tasks(%(keep)s::interval, %(limit)s::integer)
