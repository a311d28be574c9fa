-- A position goes on over pg_upgrade in terms of the table: transactions keep their numbers, and the WAL does not. It stores
-- nothing if the row is another one now. The partitions of the outbox that have no relay go on too: nobody else can say so for
-- them. Returns the names.
UPDATE relay.checkpoint AS c
SET mode = 'polling', lsn = NULL, filter_snapshot = NULL, filter_end = NULL, making_slot = false, plugin = NULL,
    system_identifier = system.system_identifier::text, timeline = relay.timeline(), database = d.datname,
    database_oid = d.oid, epoch = c.epoch + 1,
    recorded_epoch = CASE WHEN c.recorded_epoch = c.epoch THEN c.epoch + 1 END, updated_at = clock_timestamp()
FROM pg_database AS d, pg_control_system() AS system
WHERE d.datname = current_database()
  AND (c.name = %(name)s AND c.epoch = %(epoch)s
       OR c.vacant AND (c.partitioned, c.system_identifier)
                     = (SELECT o.partitioned, o.system_identifier FROM relay.checkpoint AS o WHERE o.name = %(name)s))
RETURNING c.name
