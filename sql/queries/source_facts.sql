-- What the relay must know before it streams: the server and its settings, the slot, the stored position, and another
-- relay that has this slot. The parameters are the slot's name, the relay's, and the outbox table as schema.table, or
-- NULL for an outbox of messages.
SELECT current_setting('server_encoding')                                  AS server_encoding,
       current_setting('server_version_num')::integer                      AS server_version,
       current_setting('wal_level')                                        AS wal_level,
       (SELECT setting::integer FROM pg_settings WHERE name = 'wal_sender_timeout') AS wal_sender_timeout_ms,
       pg_is_in_recovery()                                                 AS in_recovery,
       pg_postmaster_start_time()                                          AS server_started_at,
       (CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_flush_lsn() END)::text AS wal_end,
       (SELECT system_identifier::text FROM pg_control_system())           AS system_identifier,
       current_database()                                                  AS database,
       (SELECT oid FROM pg_database WHERE datname = current_database())    AS database_oid,
       current_user::text                                                  AS role,
       (SELECT rolreplication OR rolsuper FROM pg_roles WHERE rolname = current_user) AS may_replicate,
       relay.outbox_relations(%(table)s::text)                             AS relations,
       s.slot_name                                                         AS slot,
       s.plugin                                                            AS plugin,
       s.database                                                          AS slot_database,
       s.wal_status                                                        AS wal_status,
       s.confirmed_flush_lsn::text                                         AS confirmed_flush_lsn,
       s.active_pid                                                        AS holder_pid,
       a.application_name                                                  AS holder_name,
       a.backend_start                                                     AS holder_since,
       c.slot                                                              AS checkpoint_slot,
       c.mode                                                              AS checkpoint_mode,
       c.lsn::text                                                         AS checkpoint_lsn,
       c.snapshot::text                                                    AS checkpoint_snapshot,
       c.streamed::text                                                    AS checkpoint_streamed,
       c.round_snapshot::text                                              AS checkpoint_round_snapshot,
       c.round_seq                                                         AS checkpoint_round_seq,
       c.filter_snapshot::text                                             AS checkpoint_filter_snapshot,
       c.filter_end::text                                                  AS checkpoint_filter_end,
       c.making_slot                                                       AS checkpoint_making_slot,
       c.wanted                                                            AS checkpoint_wanted,
       c.epoch                                                             AS checkpoint_epoch,
       c.updated_at                                                        AS checkpoint_at,
       c.system_identifier                                                 AS checkpoint_system,
       c.database                                                          AS checkpoint_database,
       c.database_oid                                                      AS checkpoint_database_oid,
       c.plugin                                                            AS checkpoint_plugin,
       c.outboxes                                                          AS checkpoint_outboxes,
       (SELECT EXISTS (SELECT FROM pg_replication_slots AS k
                       WHERE k.slot_name = c.slot AND k.database = current_database())) AS checkpoint_slot_exists,
       other.name                                                          AS other_relay,
       other.outboxes                                                      AS other_outboxes,
       c.partition                                                         AS checkpoint_partition,
       c.partitions                                                        AS checkpoint_partitions,
       c.partitioned_by                                                    AS checkpoint_partitioned_by
FROM (SELECT) AS one
LEFT JOIN pg_replication_slots AS s ON s.slot_name = %(slot)s
LEFT JOIN pg_stat_activity AS a ON a.pid = s.active_pid
LEFT JOIN relay.checkpoint AS c ON c.name = %(name)s
LEFT JOIN relay.checkpoint AS other ON %(slot)s IN (other.slot, other.replay_slot) AND other.name <> %(name)s
