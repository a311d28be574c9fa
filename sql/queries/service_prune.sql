SELECT tasks.prune_requests(make_interval(secs => %(keep)s), %(batch)s) AS removed
