-- The rows of a relay's parked events with one of the ids, or in one of the rows (neither given: all that wait), in the
-- order in which the events were written.
SELECT number AS row, id,
       CASE WHEN discarded_at IS NOT NULL THEN 'discarded' WHEN coalesce(redriven_at, asked_at) IS NOT NULL THEN 'redriven' ELSE 'waiting' END
           AS state
FROM relay.parked
WHERE relay = %(relay)s
  AND (id = ANY(%(ids)s::text[]) OR number = ANY(%(rows)s::bigint[])
       OR %(ids)s::text[] IS NULL AND asked_at IS NULL AND redriven_at IS NULL AND discarded_at IS NULL)
ORDER BY seq, number
