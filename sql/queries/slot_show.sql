-- One replication slot and its holder. Columns that only newer servers have are read through JSON, so that one
-- statement works on all versions. reply_time is from the holder's clock, and visible only to the holder's role and to
-- members of pg_read_all_stats. On a standby, the end of the WAL is the replayed position.
SELECT s.slot_name                                        AS name,
       s.plugin                                           AS plugin,
       s.database                                         AS database,
       s.temporary                                        AS temporary,
       s.active_pid                                       AS holder_pid,
       a.application_name                                 AS holder_name,
       a.backend_start                                    AS holder_since,
       host(a.client_addr)                                AS holder_address,
       r.reply_time                                       AS holder_reported_at,
       wal.lsn::text                                      AS current_lsn,
       s.confirmed_flush_lsn::text                        AS confirmed_flush_lsn,
       s.restart_lsn::text                                AS restart_lsn,
       pg_wal_lsn_diff(wal.lsn, s.confirmed_flush_lsn)::bigint AS lag_bytes,
       pg_wal_lsn_diff(wal.lsn, s.restart_lsn)::bigint    AS retained_bytes,
       s.wal_status                                       AS wal_status,
       s.safe_wal_size                                    AS safe_wal_size,
       to_jsonb(s) ->> 'invalidation_reason'              AS invalidation_reason,
       (to_jsonb(s) ->> 'inactive_since')::timestamptz    AS inactive_since,
       (to_jsonb(s) ->> 'failover')::boolean              AS failover
FROM pg_replication_slots AS s
LEFT JOIN pg_stat_activity AS a ON a.pid = s.active_pid
LEFT JOIN pg_stat_replication AS r ON r.pid = s.active_pid
CROSS JOIN (
    SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END AS lsn
) AS wal
WHERE s.slot_name = %(slot)s
