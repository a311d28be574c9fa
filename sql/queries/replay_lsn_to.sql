-- The first noted position a second after a time, or later: what was committed up to that time is before its LSN. A commit has its
-- time a moment before its record is written.
SELECT lsn::text, at FROM relay.checkpoint_history
WHERE relay = ANY (ARRAY(SELECT relay.members(%(relay)s))) AND at >= %(at)s::timestamptz + interval '1 second'
  AND system_identifier = %(system)s AND timeline = %(timeline)s
ORDER BY at LIMIT 1
