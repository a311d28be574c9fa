-- The positions of a relay between two times, oldest first.
SELECT at, lsn::text, snapshot::text, mode, published_lsn::text, published_snapshot::text, timeline
FROM relay.checkpoint_history
WHERE relay = %(relay)s AND at >= %(since)s AND at <= %(until)s
  AND system_identifier = (SELECT system_identifier::text FROM pg_control_system())
ORDER BY at
