-- Where the next record of the WAL begins, or a little before.
SELECT pg_current_wal_insert_lsn()::text
