-- Facts about the server, for `relay check`. A setting that this version does not have is not in the object.
SELECT current_setting('server_version_num')::integer AS version_number,
       current_setting('server_version')              AS version,
       current_setting('server_encoding')             AS encoding,
       pg_is_in_recovery()                            AS in_recovery,
       pg_backend_pid()                               AS backend_pid,
       (SELECT count(*) FROM pg_replication_slots)    AS slots,
       (SELECT count(*) FROM pg_stat_replication)     AS senders,
       (SELECT jsonb_object_agg(name, setting) FROM pg_settings WHERE name IN (
           'wal_level', 'effective_wal_level', 'max_replication_slots', 'max_wal_senders', 'max_slot_wal_keep_size',
           'idle_replication_slot_timeout', 'wal_sender_timeout', 'output_plugin_libraries',
           'synchronized_standby_slots')) AS settings
