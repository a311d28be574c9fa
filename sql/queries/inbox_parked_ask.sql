-- Asks for parked events to be applied again: a consumer that runs reads the rows within a second. Returns those that wait.
UPDATE inbox.parked SET asked_at = coalesce(asked_at, clock_timestamp())
WHERE number = ANY(%(numbers)s::bigint[]) AND applied_at IS NULL AND discarded_at IS NULL
RETURNING number
