-- Lets redriven events of a relay wait again that the stream may not have delivered: those since its stored position, with
-- a minute for what was on its way. It runs before a gap is accepted; the slot that had them is gone.
UPDATE relay.parked AS p
SET redriven_at = NULL, redriven_tx = NULL
FROM relay.checkpoint AS c
WHERE c.name = %(relay)s AND p.relay = c.name AND p.redriven_at > c.updated_at - interval '1 minute'
