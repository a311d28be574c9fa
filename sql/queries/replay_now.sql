-- The present, in the form of a position of the past. A standby refuses READ WRITE: its snapshots list nothing as running.
SELECT clock_timestamp() AS at, pg_current_wal_insert_lsn()::text AS lsn, pg_current_snapshot()::text AS snapshot,
       pg_snapshot_xmax(pg_current_snapshot())::text::bigint AS next, relay.timeline() AS timeline
