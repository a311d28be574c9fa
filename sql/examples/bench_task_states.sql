-- How many tasks there are in each status and at which version.
SELECT status, version, count(*) FROM tasks.task GROUP BY status, version ORDER BY status, version
