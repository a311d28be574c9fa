-- The timeline of the server, also in the minutes after a promotion.
--
-- pg_control_checkpoint() has the timeline of the last checkpoint. A standby that is promoted begins a new timeline, and requests
-- a checkpoint, which takes minutes. Before it accepts writes, it notes the new timeline as that of its least recovery point, which
-- the checkpoint clears (https://www.postgresql.org/docs/current/functions-info.html#FUNCTIONS-INFO-CONTROLDATA).

CREATE FUNCTION relay.timeline() RETURNS integer
LANGUAGE sql SET search_path = pg_catalog, pg_temp
AS $$
    SELECT greatest(c.timeline_id, r.min_recovery_end_timeline) FROM pg_control_checkpoint() AS c, pg_control_recovery() AS r
$$;

-- As in 019, with this timeline.
CREATE OR REPLACE FUNCTION relay.note_position(relay text, every interval) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    seen    pg_snapshot;
    written pg_lsn;
    moment  timestamptz;
BEGIN
    IF EXISTS (SELECT FROM relay.checkpoint_history AS h
               WHERE h.relay = note_position.relay AND h.at > clock_timestamp() - every AND h.at <= clock_timestamp()) THEN
        RETURN false;
    END IF;
    seen := pg_current_snapshot();
    written := pg_current_wal_insert_lsn();
    moment := clock_timestamp();
    INSERT INTO relay.checkpoint_history
        (relay, at, lsn, snapshot, next, mode, published_lsn, published_snapshot, system_identifier, timeline)
    SELECT c.name, moment, written, seen, pg_current_xact_id(), c.mode, c.lsn, c.snapshot,
           system.system_identifier::text, relay.timeline()
    FROM relay.checkpoint AS c, pg_control_system() AS system
    WHERE c.name = note_position.relay
    ON CONFLICT DO NOTHING;
    RETURN FOUND;
END $$;
