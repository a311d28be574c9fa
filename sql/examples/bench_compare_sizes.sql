-- Bytes of WAL that the slot retains, and of the tables of the outbox and of what a relay keeps in any schema.
SELECT (SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), restart_lsn)::bigint
        FROM pg_replication_slots WHERE slot_name = %(slot)s),
       (SELECT coalesce(sum(pg_table_size(pg_class.oid) + pg_indexes_size(pg_class.oid)), 0)::bigint
        FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
        WHERE relkind = 'r' AND nspname NOT IN ('bench', 'tasks', 'inbox', 'information_schema')
          AND NOT starts_with(nspname, 'pg_'))
