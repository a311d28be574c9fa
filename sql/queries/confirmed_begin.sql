-- Where pollers share a table: what was confirmed is recorded from here on, unless it was already.
UPDATE relay.checkpoint
SET recorded_epoch = epoch, recorded_since = pg_current_snapshot(), recorded_besides = '{}'
WHERE name = %(relay)s AND recorded_epoch IS DISTINCT FROM epoch
