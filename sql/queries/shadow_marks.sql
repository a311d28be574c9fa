-- Where the WAL ends that is written, and that is flushed; and how much WAL the shadow's own slot retains, if it has one.
SELECT pg_current_wal_insert_lsn()::text AS written, pg_current_wal_flush_lsn()::text AS flushed,
       (SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), restart_lsn)::bigint
        FROM pg_replication_slots WHERE slot_name = %(slot)s) AS retained
