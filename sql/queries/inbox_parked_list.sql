-- Parked events that wait, oldest first, at most `limit`; each filter that is NULL lets all through.
SELECT number, consumer, message_id, aggregate_type, aggregate_id, aggregate_version, event_type, reason, error, parked_at, times,
       asked_at
FROM inbox.parked
WHERE applied_at IS NULL AND discarded_at IS NULL
  AND (%(consumer)s::text IS NULL OR consumer = %(consumer)s) AND (%(reason)s::text IS NULL OR reason = %(reason)s)
  AND (%(numbers)s::bigint[] IS NULL OR number = ANY(%(numbers)s))
ORDER BY number
LIMIT %(limit)s
