-- Goes on by polling where a relay has streamed, or polled a round in part.
UPDATE relay.checkpoint
SET mode = 'polling', streamed = '{}', round_snapshot = NULL, round_seq = NULL, filter_snapshot = NULL, filter_end = NULL,
    making_slot = false, epoch = epoch + 1,
    recorded_epoch = CASE WHEN recorded_epoch = epoch THEN epoch + 1 END, updated_at = clock_timestamp()
WHERE name = %(relay)s
