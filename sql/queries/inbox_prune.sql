-- Removes what is older than `keep` from the inbox, at most `limit` rows of each table. Returns how many.
SELECT inbox.prune(%(keep)s::interval, %(limit)s::integer)
