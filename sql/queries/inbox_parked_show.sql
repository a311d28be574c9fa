-- All that is stored of parked events, those that wait no more too.
SELECT number, consumer, message_id, by_version, aggregate_type, aggregate_id, aggregate_version, event_type, routing_key, created_at,
       headers, body, reason, error, parked_at, times, asked_at, applied_at, discarded_at
FROM inbox.parked WHERE number = ANY(%(numbers)s::bigint[]) ORDER BY number
