-- A new snapshot, and the transactions of the rows that it sees and that are neither marked nor seen by the stored one: those
-- that were running for the stored one; and of the others, one for each row, the first in the order of tx.
SELECT pg_current_snapshot()::text AS now,
       ARRAY(SELECT DISTINCT row.tx::text::bigint FROM {table} AS row WHERE {late} AND {unmarked}) AS late,
       ARRAY(SELECT row.tx::text::bigint FROM {table} AS row WHERE {new} AND {unmarked} ORDER BY row.tx LIMIT %(limit)s) AS new
