-- The slot that keeps WAL for replays (`noted` by the relay, and as it was `found`), beside the slot of the relay, which is
-- copied for it. Sizes are bytes.
SELECT c.replay_slot                                                              AS noted,
       w.slot_name IS NOT NULL                                                    AS found,
       coalesce(w.database = current_database() AND NOT w.temporary, false)       AS here,
       coalesce(w.wal_status = 'lost', false)                                     AS lost,
       w.confirmed_flush_lsn::text                                                AS oldest,
       pg_wal_lsn_diff(pg_current_wal_lsn(), w.restart_lsn)::bigint               AS retained_bytes,
       CASE WHEN s.wal_status <> 'lost' THEN s.confirmed_flush_lsn::text END      AS confirmed,
       CASE WHEN s.wal_status <> 'lost' THEN pg_wal_lsn_diff(pg_current_wal_lsn(), s.restart_lsn)::bigint
       END                                                                        AS slot_retained_bytes,
       pg_current_wal_lsn()::text                                                 AS wal_end,
       (SELECT setting::integer FROM pg_settings WHERE name = 'max_slot_wal_keep_size') AS keep_size_mib
FROM (SELECT) AS one
LEFT JOIN relay.checkpoint AS c ON c.name = %(name)s
LEFT JOIN pg_replication_slots AS w ON w.slot_name = coalesce(c.replay_slot, %(window)s)
LEFT JOIN pg_replication_slots AS s ON s.slot_name = %(slot)s AND s.database = current_database() AND NOT s.temporary
