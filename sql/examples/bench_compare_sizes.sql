-- Bytes of WAL that the slot retains, and of the tables of the outbox and of what a relay keeps.
SELECT (SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), restart_lsn)::bigint
        FROM pg_replication_slots WHERE slot_name = %(slot)s),
       (SELECT coalesce(sum(pg_table_size(oid) + pg_indexes_size(oid)), 0)::bigint FROM pg_class
        WHERE relkind = 'r' AND relnamespace::regnamespace::text IN ('outbox', 'relay', 'control'))
