-- What the server has counted: bytes of WAL, the rows of the outbox and of the relay's tables that were updated or deleted,
-- and the transactions of this database.
SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint,
       (SELECT coalesce(sum(n_tup_upd + n_tup_del), 0)::bigint FROM pg_stat_user_tables
        WHERE schemaname IN ('outbox', 'relay')),
       (SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = current_database())
