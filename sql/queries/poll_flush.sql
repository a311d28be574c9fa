-- Waits until the WAL is flushed up to `written`. A transaction with synchronous_commit=off is visible before that, and a
-- crash takes it back and gives its id out again. The commit of a message flushes all that is before it.
SELECT CASE WHEN pg_current_wal_flush_lsn() < %(written)s::pg_lsn
            THEN pg_logical_emit_message(true, 'relay.flush', '') END
