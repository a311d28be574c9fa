-- The outbox events of transactions that a stream named. A stream tells 32 bits of a transaction's id; the rest is that
-- of the last transaction with these bits that the server has given out.
WITH next AS (
    SELECT pg_snapshot_xmax(pg_current_snapshot())::text::numeric AS id
), named AS (
    SELECT xid, trunc(id / 4294967296) * 4294967296 + xid AS guess, id FROM next, unnest(%(xids)s::bigint[]) AS xid
), told AS (
    SELECT xid, (CASE WHEN guess >= id THEN guess - 4294967296 ELSE guess END)::text::xid8 AS tx
    FROM named WHERE guess < id OR guess >= 4294967296
)
SELECT told.xid, e.id::text, e.aggregate_type, e.aggregate_id, e.aggregate_version, e.event_type, e.created_at
FROM told JOIN outbox.event AS e ON e.tx = told.tx
ORDER BY e.seq
