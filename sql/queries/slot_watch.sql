-- How much WAL the slot retains, whether it is in danger, and how many events of the relay are waiting.
SELECT coalesce(pg_wal_lsn_diff(pg_current_wal_lsn(), s.restart_lsn), 0)::bigint        AS retained_bytes,
       coalesce(pg_wal_lsn_diff(pg_current_wal_lsn(), s.confirmed_flush_lsn), 0)::bigint AS lag_bytes,
       coalesce(s.wal_status, 'missing')                                                AS wal_status,
       s.safe_wal_size                                                                  AS safe_wal_size,
       (SELECT setting::integer FROM pg_settings WHERE name = 'max_slot_wal_keep_size') AS keep_size_mib,
       (SELECT count(*) FROM relay.parked
        WHERE relay = %(name)s AND redriven_at IS NULL AND discarded_at IS NULL)           AS parked
FROM (SELECT) AS one LEFT JOIN pg_replication_slots AS s ON s.slot_name = %(slot)s
