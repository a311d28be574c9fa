-- Lets the relay poll what `snapshot` did not see.
WITH marks AS (DELETE FROM relay.mark)
UPDATE relay.checkpoint
SET mode = 'polling', lsn = NULL, snapshot = %(snapshot)s::pg_snapshot, streamed = '{}', round_snapshot = NULL, round_seq = NULL
