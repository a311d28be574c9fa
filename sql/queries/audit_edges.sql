-- The positions of the past around a stretch of time, by time: from the last at or before `since` to the first at or after
-- `until`. Transactions of another system have other numbers.
SELECT h.at, h.snapshot::text AS snapshot, h.next::text::bigint AS next, h.published_snapshot::text AS published
FROM relay.checkpoint_history AS h JOIN relay.checkpoint AS c ON c.name = h.relay
WHERE h.relay = %(relay)s AND h.system_identifier = c.system_identifier
  AND h.at >= coalesce((SELECT max(e.at) FROM relay.checkpoint_history AS e
                        WHERE e.relay = h.relay AND e.system_identifier = h.system_identifier AND e.at <= %(since)s),
                       '-infinity')
  AND h.at <= coalesce((SELECT min(l.at) FROM relay.checkpoint_history AS l
                        WHERE l.relay = h.relay AND l.system_identifier = h.system_identifier AND l.at >= %(until)s),
                       'infinity')
ORDER BY h.at
