-- Parked events that an operator asked for, of the consumers named, without those that are under way. In the order of their
-- aggregates' versions, so that none is a gap only because of the order.
SELECT number, consumer, message_id, event_type, created_at, routing_key, headers, body
FROM inbox.parked
WHERE asked_at IS NOT NULL AND applied_at IS NULL AND discarded_at IS NULL
  AND consumer = ANY(%(consumers)s::text[]) AND number <> ALL(%(underway)s::bigint[])
ORDER BY aggregate_version, number
LIMIT %(limit)s
