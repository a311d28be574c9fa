-- The last noted position that is not after a time: what was committed at that time or later is behind its LSN.
SELECT lsn::text, at FROM relay.checkpoint_history
WHERE relay = ANY (ARRAY(SELECT relay.members(%(relay)s)))
  AND at <= %(at)s AND system_identifier = %(system)s AND timeline = %(timeline)s
ORDER BY at DESC LIMIT 1
