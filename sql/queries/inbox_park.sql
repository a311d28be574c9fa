-- Parks an event that a consumer could not apply, and claims its message, so that no other delivery applies it. Returns its row,
-- also of an earlier attempt of this statement; NULL if it was applied meanwhile. One whose claim the handler itself
-- has `committed` is parked in any case.
WITH claimed AS (
    INSERT INTO inbox.message (consumer, message_id)
    SELECT %(consumer)s, %(message_id)s WHERE NOT %(by_version)s::boolean
    ON CONFLICT DO NOTHING
    RETURNING 1
), made AS (
    INSERT INTO inbox.parked (consumer, message_id, by_version, aggregate_type, aggregate_id, aggregate_version, event_type,
                              routing_key, created_at, headers, body, reason, error)
    SELECT %(consumer)s, %(message_id)s, %(by_version)s, %(aggregate_type)s, %(aggregate_id)s, %(aggregate_version)s::bigint,
           %(event_type)s, %(routing_key)s, %(created_at)s::timestamptz, %(headers)s, %(body)s::bytea, %(reason)s, %(error)s
    WHERE %(committed)s::boolean
       OR CASE WHEN %(by_version)s THEN NOT EXISTS (
                   SELECT FROM inbox.position AS p
                   WHERE p.consumer = %(consumer)s AND p.aggregate_type = %(aggregate_type)s
                     AND p.aggregate_id = %(aggregate_id)s AND p.version >= %(aggregate_version)s::bigint)
               ELSE EXISTS (SELECT FROM claimed) END
    ON CONFLICT ON CONSTRAINT parked_once DO NOTHING
    RETURNING number
)
SELECT coalesce((SELECT number FROM made),
                (SELECT number FROM inbox.parked
                 WHERE consumer = %(consumer)s AND message_id = %(message_id)s AND applied_at IS NULL))
