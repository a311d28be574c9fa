-- The first position of a relay, before its slot is made: what `snapshot` sees counts as published, or with NULL everything
-- that is visible now. The relay polls from here, and streams once it has the slot. A row that is there stays as it is.
INSERT INTO relay.checkpoint
    (name, slot, mode, snapshot, epoch, recorded_epoch, recorded_since, system_identifier, timeline, database, database_oid,
     outboxes)
SELECT %(name)s, %(slot)s, 'polling', begin.snapshot, 1, 1, begin.snapshot,
       system.system_identifier::text, relay.timeline(), d.datname, d.oid, %(outboxes)s::text[]
FROM pg_database AS d, pg_control_system() AS system,
     coalesce(%(snapshot)s::pg_snapshot, pg_current_snapshot()) AS begin (snapshot)
WHERE d.datname = current_database()
ON CONFLICT (name) DO NOTHING
