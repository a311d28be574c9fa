-- Stores how far a relay has confirmed, and returns the row's new epoch. It stores nothing, and returns what is
-- different, if the row is not the one that the caller wrote, if the server was started again or its WAL ends below the
-- position, or if the outbox has other relations than when its stream was opened.
WITH saved AS (
    UPDATE relay.checkpoint
    SET lsn = %(lsn)s::pg_lsn, snapshot = coalesce(%(snapshot)s::pg_snapshot, snapshot), mode = 'wal',
        epoch = epoch + 1, updated_at = clock_timestamp()
    WHERE name = %(name)s AND slot = %(slot)s AND epoch = %(epoch)s AND lsn <= %(lsn)s::pg_lsn
      AND pg_postmaster_start_time() = %(server_started_at)s AND %(lsn)s::pg_lsn <= pg_current_wal_flush_lsn()
      AND relay.outbox_relations(%(outbox)s::text) IS NOT DISTINCT FROM %(relations)s::text
    RETURNING epoch
)
SELECT (SELECT epoch FROM saved)                                                                   AS epoch,
       pg_postmaster_start_time() IS DISTINCT FROM %(server_started_at)s::timestamptz              AS restarted,
       relay.outbox_relations(%(outbox)s::text) IS DISTINCT FROM %(relations)s::text               AS changed,
       (SELECT c.epoch FROM relay.checkpoint AS c WHERE c.name = %(name)s AND c.slot = %(slot)s)   AS found_epoch
