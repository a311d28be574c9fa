-- The snapshot of a poll. What it sees is flushed once the WAL is flushed up to `written`, which is read after it.
SELECT pg_current_snapshot()::text AS snapshot, pg_current_wal_insert_lsn()::text AS written,
       pg_postmaster_start_time() AS server_started_at
