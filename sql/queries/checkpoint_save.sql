-- Stores what a relay has published, and returns the row's new epoch. It stores nothing, and returns what is different, if
-- the row is not the one that the caller wrote, if the server was started again or its WAL ends below the position, or if
-- the outbox has other relations than when its stream was opened. A poll reads whatever relations there are. What RabbitMQ
-- confirmed is stored with it (relay.confirmed), or not at all.
WITH saved AS (
    UPDATE relay.checkpoint
    SET mode = %(mode)s, lsn = %(lsn)s::pg_lsn, snapshot = coalesce(%(snapshot)s::pg_snapshot, snapshot),
        streamed = %(streamed)s::int8multirange,
        round_snapshot = %(round_snapshot)s::pg_snapshot, round_seq = %(round_seq)s::bigint,
        filter_snapshot = %(filter_snapshot)s::pg_snapshot, filter_end = %(filter_end)s::pg_lsn,
        making_slot = %(making_slot)s, epoch = epoch + 1, updated_at = clock_timestamp(),
        recorded_epoch = epoch + 1, recorded_since = coalesce(recorded_since, %(snapshot)s::pg_snapshot, snapshot)
    WHERE name = %(name)s AND epoch = %(epoch)s
      AND pg_postmaster_start_time() = %(server_started_at)s
      AND (lsn IS NULL OR lsn <= %(lsn)s::pg_lsn)
      AND (%(lsn)s::pg_lsn IS NULL OR %(lsn)s::pg_lsn <= pg_current_wal_flush_lsn())
      AND (%(mode)s = 'polling' OR relay.outbox_relations(%(outbox)s::text) IS NOT DISTINCT FROM %(relations)s::text)
    RETURNING epoch, relay.note_confirmed(%(name)s, %(confirmed_seqs)s::bigint[], %(confirmed_ids)s::uuid[])
)
SELECT (SELECT epoch FROM saved)                                                                   AS epoch,
       pg_postmaster_start_time() IS DISTINCT FROM %(server_started_at)s::timestamptz              AS restarted,
       %(mode)s <> 'polling'
           AND relay.outbox_relations(%(outbox)s::text) IS DISTINCT FROM %(relations)s::text       AS changed,
       (SELECT c.epoch FROM relay.checkpoint AS c WHERE c.name = %(name)s)                         AS found_epoch
