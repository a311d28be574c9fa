-- The outbox events of transactions from a stream. A stream carries the low 32 bits of a transaction's id; the high
-- bits are those of the latest assigned id with the same low bits.
WITH next AS (
    SELECT pg_snapshot_xmax(pg_current_snapshot())::text::numeric AS id
), given AS (
    SELECT xid, trunc(id / 4294967296) * 4294967296 + xid AS guess, id FROM next, unnest(%(xids)s::bigint[]) AS xid
), full_id AS (
    SELECT xid, (CASE WHEN guess >= id THEN guess - 4294967296 ELSE guess END)::text::xid8 AS tx
    FROM given WHERE guess < id OR guess >= 4294967296
)
SELECT full_id.xid, e.id::text, e.aggregate_type, e.aggregate_id, e.aggregate_version, e.event_type, e.created_at
FROM full_id JOIN outbox.event AS e ON e.tx = full_id.tx
ORDER BY e.seq
