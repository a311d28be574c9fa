-- Marks parked events of a relay as discarded; the rows stay as a record.
UPDATE relay.parked SET discarded_at = clock_timestamp()
WHERE relay = %(relay)s AND number = ANY(%(rows)s::bigint[]) AND asked_at IS NULL AND redriven_at IS NULL AND discarded_at IS NULL
RETURNING number
