-- Notes that the relay makes this slot for replays; NULL when it has dropped it. No row if another relay has a slot of this name.
UPDATE relay.checkpoint SET replay_slot = %(window)s
WHERE name = %(name)s
  AND NOT EXISTS (SELECT FROM relay.checkpoint WHERE name <> %(name)s AND %(window)s IN (slot, replay_slot))
RETURNING name
