-- The database's time, and the times so many seconds before it; NULL for one that is not given.
SELECT now - make_interval(secs => coalesce(%(older)s::float8, 0)) AS until, now - make_interval(secs => %(since)s::float8) AS since
FROM clock_timestamp() AS now
