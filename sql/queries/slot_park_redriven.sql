-- Lets the parked rows of a relay wait again that transactions put on the stream, for a stream that cannot be decoded.
UPDATE relay.parked
SET reason = 'skipped', detail = %(detail)s, after_lsn = %(after_lsn)s::pg_lsn, after_snapshot = NULL,
    parked_at = clock_timestamp(), times = times + 1, redriven_at = NULL, redriven_tx = NULL
WHERE relay = %(relay)s
  AND redriven_tx IN (SELECT relay.transaction_id(xid) FROM unnest(%(xids)s::bigint[]) AS xid)
