-- How many parked events wait; each filter that is NULL lets all through.
SELECT count(*)
FROM inbox.parked
WHERE applied_at IS NULL AND discarded_at IS NULL
  AND (%(consumer)s::text IS NULL OR consumer = %(consumer)s) AND (%(reason)s::text IS NULL OR reason = %(reason)s)
