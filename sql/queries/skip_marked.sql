-- Which of the rows that were locked are published by now. The statement that locked them may have begun before their marks
-- were committed; this one begins while they are locked, so it sees the mark of whoever had them before. Also the transaction
-- that has them locked, and how far the WAL was written when they were read.
SELECT ARRAY(
           SELECT given.key FROM unnest(%(keys)s::text[], %(tx)s::xid8[]) AS given (key, tx)
           WHERE EXISTS (SELECT FROM relay.mark AS mark
                         WHERE mark.relay = %(relay)s AND mark.outbox = %(outbox)s AND mark.key = given.key)
              OR pg_visible_in_snapshot(given.tx, (SELECT c.snapshot FROM relay.checkpoint AS c WHERE c.name = %(relay)s))
       ) AS marked,
       pg_current_xact_id()::text AS transaction,
       pg_current_wal_insert_lsn()::text AS written
