-- Marks parked events as published again.
UPDATE relay.parked SET redriven_at = clock_timestamp()
WHERE relay = %(relay)s AND number = ANY(%(rows)s::bigint[]) AND asked_at IS NOT NULL AND redriven_at IS NULL
