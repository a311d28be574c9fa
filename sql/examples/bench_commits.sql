-- The id of every event, and the time of its commit in seconds since 1970. An event row is never updated, so its xmin
-- is the transaction that wrote it.
-- https://www.postgresql.org/docs/current/runtime-config-replication.html#GUC-TRACK-COMMIT-TIMESTAMP
SELECT id::text, extract(epoch FROM pg_xact_commit_timestamp(xmin))::float8 FROM outbox.event
