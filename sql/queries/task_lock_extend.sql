-- Holds a lock for longer, if it is still the one that was taken with this epoch.
SELECT tasks.extend_lock(%(name)s::text, %(epoch)s::bigint, make_interval(secs => %(at_most)s)) IS NOT NULL
