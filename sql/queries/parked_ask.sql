-- Asks for a parked event to be published again. The active relay reads the row within a second. No row if it does not wait.
UPDATE relay.parked SET asked_at = clock_timestamp()
WHERE number = %(row)s AND relay = %(relay)s AND asked_at IS NULL AND redriven_at IS NULL AND discarded_at IS NULL
RETURNING number
