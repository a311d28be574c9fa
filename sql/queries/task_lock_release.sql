-- Ends a job's lock, if it is still the one that was taken with this epoch.
SELECT tasks.release_lock(%(name)s::text, %(epoch)s::bigint, make_interval(secs => %(at_least)s))
