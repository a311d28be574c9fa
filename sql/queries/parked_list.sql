-- The events of a relay that are waiting in relay.parked, or are asked for and not published again, oldest first.
SELECT number AS row, id, aggregate_type, aggregate_id, aggregate_version, event_type, reason, detail, parked_at, times, asked_at
FROM relay.parked
WHERE relay = %(relay)s AND redriven_at IS NULL AND discarded_at IS NULL
ORDER BY parked_at, seq, number
