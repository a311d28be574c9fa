-- Lets the relay poll what `snapshot` did not see.
UPDATE relay.checkpoint
SET mode = 'polling', lsn = NULL, snapshot = %(snapshot)s::pg_snapshot, streamed = '{}', round_snapshot = NULL, round_seq = NULL
