-- A snapshot that was stored before the column had its default does not cover the rows without: whoever polled behind it
-- would miss them. The next fence gives one that does. The epoch makes a running relay read the row again.
UPDATE relay.checkpoint SET snapshot = NULL, epoch = epoch + 1, recorded_epoch = CASE WHEN recorded_epoch = epoch THEN epoch + 1 END
WHERE mode = 'wal' AND outboxes @> ARRAY[{name}]
