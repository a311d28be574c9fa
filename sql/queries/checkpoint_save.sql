-- Stores how far a relay has confirmed, and what that is a position of. The position never goes back on the same slot of
-- the same system, and the snapshot belongs to the position.
INSERT INTO relay.checkpoint AS c
    (name, slot, mode, lsn, snapshot, epoch, system_identifier, timeline, database, plugin, outboxes)
VALUES (%(name)s, %(slot)s, 'wal', %(lsn)s::pg_lsn, %(snapshot)s::pg_snapshot, 1, %(system_identifier)s, %(timeline)s,
        current_database(), %(plugin)s, %(outboxes)s::text[])
ON CONFLICT (name) DO UPDATE
SET (lsn, snapshot) = (
        SELECT CASE WHEN goes_on AND c.lsn > excluded.lsn THEN c.lsn ELSE excluded.lsn END,
               CASE WHEN goes_on AND (c.lsn > excluded.lsn OR excluded.snapshot IS NULL) THEN c.snapshot
                    ELSE excluded.snapshot END
        FROM (SELECT c.slot = excluded.slot AND c.system_identifier = excluded.system_identifier AS goes_on) AS same),
    slot = excluded.slot,
    mode = excluded.mode,
    epoch = c.epoch + 1,
    system_identifier = excluded.system_identifier,
    timeline = excluded.timeline,
    database = excluded.database,
    plugin = excluded.plugin,
    outboxes = excluded.outboxes,
    updated_at = clock_timestamp()
