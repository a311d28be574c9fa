-- What the relay must know before it streams: the server's settings, the slot, and the stored checkpoint.
-- The parameters are the slot's name, the relay's, and the outbox table as schema.table.
SELECT current_setting('server_encoding')                                  AS server_encoding,
       (SELECT setting::integer FROM pg_settings WHERE name = 'wal_sender_timeout') AS wal_sender_timeout_ms,
       current_database()                                                  AS database,
       current_user::text                                                  AS role,
       (SELECT rolreplication OR rolsuper FROM pg_roles WHERE rolname = current_user) AS may_replicate,
       coalesce((SELECT k.relkind = 'p' FROM pg_class AS k JOIN pg_namespace AS n ON n.oid = k.relnamespace
                 WHERE n.nspname || '.' || k.relname = %(table)s), false)         AS partitioned,
       s.slot_name                                                         AS slot,
       s.plugin                                                            AS plugin,
       s.database                                                          AS slot_database,
       s.wal_status                                                        AS wal_status,
       s.confirmed_flush_lsn::text                                         AS confirmed_flush_lsn,
       s.active_pid                                                        AS holder_pid,
       a.application_name                                                  AS holder_name,
       a.backend_start                                                     AS holder_since,
       c.slot                                                              AS checkpoint_slot,
       c.lsn::text                                                         AS checkpoint_lsn,
       c.system_identifier                                                 AS checkpoint_system,
       c.timeline                                                          AS checkpoint_timeline
FROM (SELECT) AS one
LEFT JOIN pg_replication_slots AS s ON s.slot_name = %(slot)s
LEFT JOIN pg_stat_activity AS a ON a.pid = s.active_pid
LEFT JOIN relay.checkpoint AS c ON c.name = %(name)s
