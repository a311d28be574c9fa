-- A snapshot that was stored before the column had its default does not cover the rows without: whoever polled behind it
-- would miss them. The next fence gives one that does. The epoch makes a running relay read the row again.
UPDATE relay.checkpoint SET snapshot = NULL, epoch = epoch + 1
WHERE mode = 'wal' AND outboxes @> ARRAY[{name}]
