-- What the server has counted: bytes of WAL; in this database the rows that were read, the buffers touched, and the
-- transactions; and how many rows of the outbox, and of what a relay keeps in any schema, were updated or deleted.
SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint, tup_returned + tup_fetched, blks_hit + blks_read,
       xact_commit + xact_rollback,
       (SELECT coalesce(sum(n_tup_upd + n_tup_del), 0)::bigint FROM pg_stat_user_tables
        WHERE schemaname NOT IN ('bench', 'tasks', 'inbox'))
FROM pg_stat_database WHERE datname = current_database()
