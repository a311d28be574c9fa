-- Removes at most `batch` requests that are older than `keep` seconds.
SELECT tasks.prune_requests(make_interval(secs => %(keep)s), %(batch)s) AS removed
