-- What a replay of the WAL may read: whose WAL it is, where it ends, how far it is flushed, which is how far it is sent; the
-- slot that the relay keeps for replays, and the slot that was named, if one was. A slot counts that can be copied: a logical
-- one of this database that is not lost.
SELECT system.system_identifier::text                       AS system_identifier,
       relay.timeline()                                     AS timeline,
       pg_current_wal_insert_lsn()::text                    AS wal_end,
       pg_current_wal_flush_lsn()::text                     AS flushed,
       kept.slot_name                                       AS kept,
       kept.confirmed_flush_lsn::text                       AS kept_from,
       named.slot_name IS NOT NULL                          AS named_found,
       named.database                                       AS named_database,
       named.database IS NOT DISTINCT FROM current_database() AS named_here,
       coalesce(named.wal_status = 'lost', false)           AS named_lost,
       named.confirmed_flush_lsn::text                      AS named_from
FROM pg_control_system() AS system
LEFT JOIN relay.checkpoint AS c ON c.name = %(relay)s
LEFT JOIN pg_replication_slots AS kept
    ON kept.slot_name = c.replay_slot AND kept.database = current_database() AND kept.wal_status <> 'lost'
LEFT JOIN pg_replication_slots AS named ON named.slot_name = %(slot)s
