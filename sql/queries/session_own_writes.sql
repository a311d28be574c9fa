-- What the relay itself writes never waits for a synchronous standby: the events did that when they were committed.
-- https://www.postgresql.org/docs/current/runtime-config-wal.html#GUC-SYNCHRONOUS-COMMIT
SET synchronous_commit = local
