-- The positions of the past around a stretch of time, by time: from the last at or before `since` to the first at or after
-- `until`, whichever relay of the outbox has noted them. Transactions of another system have other numbers.
WITH known AS (
    SELECT h.at, h.snapshot, h.next, h.published_snapshot
    FROM relay.checkpoint_history AS h JOIN relay.checkpoint AS c ON c.name = %(relay)s AND c.system_identifier = h.system_identifier
    WHERE h.relay = ANY (ARRAY(SELECT relay.members(%(relay)s)))
)
SELECT at, snapshot::text AS snapshot, next::text::bigint AS next, published_snapshot::text AS published
FROM known
WHERE at >= coalesce((SELECT max(e.at) FROM known AS e WHERE e.at <= %(since)s), '-infinity')
  AND at <= coalesce((SELECT min(l.at) FROM known AS l WHERE l.at >= %(until)s), 'infinity')
ORDER BY at
