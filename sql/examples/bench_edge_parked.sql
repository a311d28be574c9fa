-- The events that the relay has parked, and that nobody has published again or discarded.
SELECT id FROM relay.parked WHERE redriven_at IS NULL AND discarded_at IS NULL
