-- Seconds from the first submission to the last, from commit to commit.
SELECT extract(epoch FROM max(at) - min(at))::float8
FROM (SELECT pg_xact_commit_timestamp(xmin) AS at FROM outbox.event WHERE aggregate_version = 1) AS submitted
