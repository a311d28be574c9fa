-- Discards parked events, in the order of their versions, and returns those that waited.
SELECT number FROM (
    SELECT number FROM inbox.parked WHERE number = ANY(%(numbers)s::bigint[]) ORDER BY aggregate_version, number
) AS chosen
WHERE inbox.discard_parked(number)
