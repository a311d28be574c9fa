-- The positions of the past of a relay that this server can have given, oldest first.
SELECT h.at, h.lsn::text AS lsn, h.snapshot::text AS snapshot, h.next::text::bigint AS next, h.timeline
FROM relay.checkpoint_history AS h
WHERE h.relay = ANY (ARRAY(SELECT relay.members(%(relay)s)))
  AND h.system_identifier = (SELECT system_identifier::text FROM pg_control_system())
ORDER BY h.at
