-- The snapshot all of whose rows are published; locked, so that one poller at a time brings it forward. No row if another does.
SELECT snapshot::text FROM relay.checkpoint WHERE name = %(relay)s FOR UPDATE SKIP LOCKED
