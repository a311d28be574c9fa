-- The first noted position whose LSN is not before another: the oldest time from which the WAL behind that can be replayed.
SELECT lsn::text, at FROM relay.checkpoint_history
WHERE relay = ANY (ARRAY(SELECT relay.members(%(relay)s)))
  AND lsn >= %(oldest)s::pg_lsn AND system_identifier = %(system)s AND timeline = %(timeline)s
ORDER BY at LIMIT 1
