-- The rows that were written last: how many there are, and how many were inserted by the transaction that `tx` names.
-- pg_upgrade takes the rows over as they are; a dump and restore, or a logical replication, inserts them again.
SELECT count(*), count(*) FILTER (WHERE tx::text::numeric % 4294967296 = inserted_by::text::numeric)
FROM (SELECT tx, xmin AS inserted_by FROM {table} WHERE tx IS NOT NULL ORDER BY tx DESC LIMIT 1000) AS last
