-- The parked rows of a relay that transactions put on the stream again.
SELECT s.xid, p.id, p.aggregate_type, p.aggregate_id, p.aggregate_version, p.event_type, p.created_at
FROM (SELECT xid, relay.transaction_id(xid) AS tx FROM unnest(%(xids)s::bigint[]) AS xid) AS s
JOIN relay.parked AS p ON p.redriven_tx = s.tx
WHERE p.relay = %(relay)s
ORDER BY p.seq, p.number
