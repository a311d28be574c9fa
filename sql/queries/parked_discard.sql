-- Marks parked events as discarded; the rows stay as a record.
UPDATE relay.parked SET discarded_at = clock_timestamp()
WHERE redriven_at IS NULL AND discarded_at IS NULL AND id = ANY(%(ids)s::text[])
RETURNING id
