-- What a relay did, beside where it stands: positions of the past, for replays; and what RabbitMQ confirmed, for audits.

-- Positions of the past, one each ten seconds, fewer the older they are. A row says what was true at one moment, whoever is
-- the active relay and however far it was: which transactions were visible (snapshot), where the WAL ended (lsn), what the
-- time was (at), and which transaction ids were given out (next). They are read in this order, so that
--
--     what snapshot sees was committed before at, and before lsn;
--     what was committed before at, or before lsn, has an id below next, though it may not be visible yet.
--
-- A range from one row to another is therefore rounded outward: what the first snapshot does not see, up to the second next.
CREATE TABLE relay.checkpoint_history (
    relay              text        NOT NULL,
    at                 timestamptz NOT NULL,
    lsn                pg_lsn      NOT NULL,
    snapshot           pg_snapshot NOT NULL,
    next               xid8        NOT NULL,
    mode               text        NOT NULL,
    published_lsn      pg_lsn,
    published_snapshot pg_snapshot,
    system_identifier  text        NOT NULL,
    timeline           integer     NOT NULL,
    PRIMARY KEY (relay, at)
);
COMMENT ON TABLE relay.checkpoint_history IS 'Moments of the past: a time, the end of the WAL, and what was committed then.';
COMMENT ON COLUMN relay.checkpoint_history.next IS 'Every transaction with a lower id had begun.';
COMMENT ON COLUMN relay.checkpoint_history.published_snapshot IS 'What the relay had published by then: relay.checkpoint.snapshot.';

-- Notes the present moment for a relay, unless the last row is younger than `every`; returns whether it did. The row is in the
-- WAL behind the commit of everything that its snapshot sees: if it survives a crash or a failover, so do they.
CREATE FUNCTION relay.note_position(relay text, every interval) RETURNS boolean
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
           system.system_identifier::text, checkpoint.timeline_id
    FROM relay.checkpoint AS c, pg_control_system() AS system, pg_control_checkpoint() AS checkpoint
    WHERE c.name = note_position.relay
    ON CONFLICT DO NOTHING;
    RETURN FOUND;
END $$;

-- Removes rows that are not needed: of those older than an hour one in a minute stays, of those older than a day one in ten
-- minutes, and none that is older than `keep`; NULL keeps these. Returns how many.
CREATE FUNCTION relay.thin_positions(relay text, keep interval) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    gone bigint;
BEGIN
    WITH numbered AS (
        SELECT h.at, row_number() OVER (PARTITION BY date_bin(CASE WHEN h.at < clock_timestamp() - interval '1 day'
                                                                  THEN interval '10 minutes' ELSE interval '1 minute' END,
                                                             h.at, timestamptz '2000-01-01 00:00:00+00') ORDER BY h.at) AS place
        FROM relay.checkpoint_history AS h
        WHERE h.relay = thin_positions.relay AND h.at < clock_timestamp() - interval '1 hour'
    )
    DELETE FROM relay.checkpoint_history AS h USING numbered AS n
    WHERE h.relay = thin_positions.relay AND h.at = n.at AND (n.place > 1 OR h.at < clock_timestamp() - keep);
    GET DIAGNOSTICS gone = ROW_COUNT;
    RETURN gone;
END $$;

-- What RabbitMQ confirmed: written from its confirms, in the update that stores the position, and never from the position. So
-- an event that the relay passed over has no place here, although the position says that it was published.
CREATE TABLE relay.confirmed (
    number   bigint         GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    relay    text           NOT NULL,
    at       timestamptz    NOT NULL DEFAULT clock_timestamp(),
    seqs     int8multirange NOT NULL,
    ids      uuid[],
    ids_hash numeric        NOT NULL
);
CREATE INDEX confirmed_of ON relay.confirmed (relay, at);

COMMENT ON TABLE relay.confirmed IS 'Events of outbox.event that RabbitMQ confirmed, by batches; an event may be in several.';
COMMENT ON COLUMN relay.confirmed.seqs IS 'The numbers (outbox.event.seq) of the events.';
COMMENT ON COLUMN relay.confirmed.ids IS 'Their ids in the order of their numbers; NULL in a row that was merged from several.';
COMMENT ON COLUMN relay.confirmed.ids_hash IS 'The sum of hashtextextended(id::text, 0) of the events, each counted once.';

-- Records events of outbox.event that RabbitMQ has confirmed, each once; nothing if there are none.
CREATE FUNCTION relay.note_confirmed(relay text, seqs bigint[], ids uuid[]) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp
AS $$
    INSERT INTO relay.confirmed (relay, seqs, ids, ids_hash)
    SELECT note_confirmed.relay, range_agg(int8range(each.seq, each.seq, '[]')), array_agg(each.id ORDER BY each.seq),
           sum(hashtextextended(each.id::text, 0)::numeric)
    FROM (SELECT DISTINCT ON (given.seq) given.seq, given.id
          FROM unnest(note_confirmed.seqs, note_confirmed.ids) AS given (seq, id) ORDER BY given.seq) AS each
    HAVING count(*) > 0
$$;

-- How many numbers there are in a set of them.
CREATE FUNCTION relay.count_of(seqs int8multirange) RETURNS bigint
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT coalesce(sum(upper(range) - lower(range)), 0)::bigint FROM unnest(seqs) AS range
$$;

-- Keeps relay.confirmed small: merges the rows of a minute that is over for `merge_after`, if they have no event in common, and
-- removes those that are older than `keep`; NULL keeps them. Returns how many rows there are less. Where rows are removed, the
-- record begins later: with what the oldest position that is kept does not see, which was confirmed after that, or up to an hour
-- before, while its commit waited for a standby. So without a position none is removed. Of two snapshots the later one
-- ends higher, though a transaction that has been open since before both may begin them at the same id.
CREATE FUNCTION relay.tidy_confirmed(relay text, merge_after interval, keep interval) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    oldest record;
    gone   bigint;
    merged bigint;
BEGIN
    SELECT h.at, h.snapshot INTO oldest
    FROM relay.checkpoint_history AS h JOIN relay.checkpoint AS c ON c.name = h.relay AND c.system_identifier = h.system_identifier
    WHERE h.relay = tidy_confirmed.relay ORDER BY h.at LIMIT 1;
    DELETE FROM relay.confirmed AS c
    WHERE c.relay = tidy_confirmed.relay AND c.at < clock_timestamp() - keep AND c.at < oldest.at - interval '1 hour';
    GET DIAGNOSTICS gone = ROW_COUNT;
    UPDATE relay.checkpoint AS c SET recorded_since = oldest.snapshot
    WHERE gone > 0 AND c.name = tidy_confirmed.relay
      AND (pg_snapshot_xmax(c.recorded_since), pg_snapshot_xmin(c.recorded_since))
        < (pg_snapshot_xmax(oldest.snapshot), pg_snapshot_xmin(oldest.snapshot));
    WITH minute AS (
        SELECT date_trunc('minute', c.at) AS minute, array_agg(c.number) AS numbers, max(c.at) AS at,
               range_agg(c.seqs) AS seqs, sum(c.ids_hash) AS ids_hash
        FROM relay.confirmed AS c
        WHERE c.relay = tidy_confirmed.relay AND c.at < date_trunc('minute', clock_timestamp() - merge_after)
        GROUP BY 1
        HAVING (count(*) > 1 OR bool_or(c.ids IS NOT NULL))
           AND relay.count_of(range_agg(c.seqs)) = sum(relay.count_of(c.seqs))
    ), removed AS (
        DELETE FROM relay.confirmed AS c USING minute AS m WHERE c.number = ANY (m.numbers) RETURNING c.number
    ), added AS (
        INSERT INTO relay.confirmed (relay, at, seqs, ids_hash)
        SELECT tidy_confirmed.relay, m.at, m.seqs, m.ids_hash FROM minute AS m
        RETURNING number
    )
    SELECT (SELECT count(*) FROM removed) - (SELECT count(*) FROM added) INTO merged;
    RETURN gone + merged;
END $$;

-- Since when confirms are recorded. A relay of an earlier version stores positions without them: then epoch moves on, and
-- recorded_epoch does not, and the next relay of this version begins anew.
ALTER TABLE relay.checkpoint
    ADD COLUMN recorded_epoch   bigint,
    ADD COLUMN recorded_since   pg_snapshot,
    ADD COLUMN recorded_besides int8multirange NOT NULL DEFAULT '{}';

COMMENT ON COLUMN relay.checkpoint.recorded_epoch IS 'The last epoch that was written together with what was confirmed.';
COMMENT ON COLUMN relay.checkpoint.recorded_since IS
    'Confirms are in relay.confirmed of every event that this snapshot does not see, except of transactions in recorded_besides.';

-- What was removed from the outbox, by number too; and the last of its transactions, so that a replay knows what is gone.
ALTER TABLE outbox.retired
    ADD COLUMN seqs     int8multirange,
    ADD COLUMN first_tx xid8,
    ADD COLUMN last_tx  xid8;
COMMENT ON COLUMN outbox.retired.seqs IS 'The numbers of its events; NULL in a row of an earlier version.';
COMMENT ON COLUMN outbox.retired.first_tx IS 'No event of an earlier transaction was in it; NULL in a row of an earlier version.';
COMMENT ON COLUMN outbox.retired.last_tx IS 'No event of a later transaction was in it; NULL in a row of an earlier version.';

-- As before (010_sources.sql), and it notes the numbers and the last transaction too. Numbers in a row are found by sorting
-- them, which needs no memory for each.
CREATE OR REPLACE FUNCTION outbox.drop_partition(name text, keep interval) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '500ms'
AS $$
DECLARE
    found   record;
    counted record;
    before  pg_snapshot;
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'outbox.drop_partition must see what is committed while it waits'
            USING ERRCODE = 'invalid_transaction_state', HINT = 'Call it in a transaction of ISOLATION LEVEL READ COMMITTED.';
    END IF;
    IF NOT pg_try_advisory_xact_lock(hashtextextended('outbox.drop_partition', 0)) THEN
        RETURN 'somebody else is dropping partitions';
    END IF;
    SELECT * INTO found FROM outbox.old_partitions(keep) AS old WHERE old.partition = name;
    IF found.partition IS NULL OR found.obstacle IS NOT NULL THEN
        RETURN coalesce(found.obstacle, 'it is not old enough, or there is no such partition');
    END IF;
    -- What is counted is what `before` sees, and maybe later rows, which the check below finds.
    before := pg_current_snapshot();
    EXECUTE format(
        'SELECT coalesce(sum(events), 0)::bigint AS events, max(last_seq) AS last_seq, coalesce(sum(ids_hash), 0) AS ids_hash,'
        '       (SELECT id FROM outbox.%1$I ORDER BY seq DESC LIMIT 1) AS last_id, min(first_tx) AS first_tx, max(last_tx) AS last_tx,'
        '       coalesce(range_agg(int8range(first_seq, last_seq, ''[]'')), ''{}'') AS seqs '
        'FROM (SELECT count(*) AS events, min(seq) AS first_seq, max(seq) AS last_seq,'
        '             sum(hashtextextended(id::text, 0)::numeric) AS ids_hash, min(tx) AS first_tx, max(tx) AS last_tx'
        '      FROM (SELECT id, seq, tx, seq - row_number() OVER (ORDER BY seq) AS island FROM outbox.%1$I) AS numbered'
        '      GROUP BY island) AS islands', name) INTO counted;
    BEGIN
        LOCK TABLE ONLY outbox.event IN ACCESS EXCLUSIVE MODE;
        PERFORM set_config('lock_timeout', '10ms', true);
        EXECUTE format('LOCK TABLE ONLY outbox.%I IN ACCESS EXCLUSIVE MODE', name);
        IF outbox.unseen(name, before || ARRAY(SELECT snapshot FROM outbox.published())) THEN
            RETURN 'an event was written into it just now';
        END IF;
        EXECUTE format('DROP TABLE outbox.%I', name);
    EXCEPTION
        WHEN lock_not_available THEN
            RETURN 'it is in use: a transaction that is open has a lock on the outbox';
        WHEN dependent_objects_still_exist THEN
            RETURN SQLERRM;
    END;
    INSERT INTO outbox.retired (partition, events, last_seq, last_id, ids_hash, seqs, first_tx, last_tx)
    VALUES (name, counted.events, counted.last_seq, counted.last_id, counted.ids_hash, counted.seqs, counted.first_tx,
            counted.last_tx);
    RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION outbox.drain_default(keep interval, at_most integer DEFAULT 10000) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '500ms'
AS $$
DECLARE
    gone bigint;
BEGIN
    IF outbox.kept_by() IS NOT NULL THEN
        RETURN 0;
    END IF;
    WITH published AS MATERIALIZED (
        SELECT snapshot FROM outbox.published()
    ), removed AS (
        DELETE FROM outbox.event_default WHERE ctid = ANY (ARRAY(
            SELECT event.ctid FROM outbox.event_default AS event
            WHERE event.created_at <= clock_timestamp() - keep
              AND NOT EXISTS (SELECT FROM published AS p WHERE NOT pg_visible_in_snapshot(event.tx, p.snapshot))
            LIMIT at_most
            FOR UPDATE SKIP LOCKED))
        RETURNING id, seq, tx
    ), noted AS (
        INSERT INTO outbox.retired (partition, events, last_seq, last_id, ids_hash, seqs, first_tx, last_tx)
        SELECT 'event_default', count(*), max(seq), (array_agg(id ORDER BY seq DESC))[1],
               sum(hashtextextended(id::text, 0)::numeric), range_agg(int8range(seq, seq, '[]')), min(tx), max(tx)
        FROM removed HAVING count(*) > 0
        RETURNING events
    )
    SELECT coalesce(sum(events), 0) INTO gone FROM noted;
    RETURN gone;
END $$;

-- Replays: each is a job that can be resumed. The range is fixed when the job is made, in terms of the source that it reads:
-- two snapshots for the table, two LSNs for the WAL.
CREATE TABLE relay.replay (
    job               bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    relay             text        NOT NULL,
    outbox            text        NOT NULL,
    source            text        NOT NULL CONSTRAINT "a replay reads the table or the wal" CHECK (source IN ('table', 'wal')),
    slot              text,
    after_snapshot    pg_snapshot,
    until_snapshot    pg_snapshot,
    after_lsn         pg_lsn,
    until_lsn         pg_lsn,
    first_event       text,
    last_event        text,
    aggregate_type    text,
    aggregate_id      text,
    event_type        text,
    seqs              int8multirange,
    exchange          text,
    queue             text,
    rate              double precision,
    system_identifier text        NOT NULL,
    timeline          integer     NOT NULL,
    state             text        NOT NULL DEFAULT 'running'
        CONSTRAINT "a replay is running, interrupted, failed or finished" CHECK (state IN ('running', 'interrupted', 'failed', 'finished')),
    detail            text,
    events            bigint,
    confirmed         bigint      NOT NULL DEFAULT 0,
    parked            bigint      NOT NULL DEFAULT 0,
    done_seq          bigint,
    done_lsn          pg_lsn,
    created_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    created_by        text        NOT NULL DEFAULT session_user,
    updated_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    finished_at       timestamptz,
    CONSTRAINT "a replay of the table has two snapshots"
        CHECK (source <> 'table' OR (after_snapshot IS NOT NULL AND until_snapshot IS NOT NULL)),
    CONSTRAINT "a replay of the wal has a slot and two LSNs"
        CHECK (source <> 'wal' OR (slot IS NOT NULL AND after_lsn IS NOT NULL AND until_lsn IS NOT NULL)),
    CONSTRAINT "a replay goes to an exchange or to a queue" CHECK (exchange IS NULL OR queue IS NULL)
);
CREATE INDEX replay_of ON relay.replay (relay, job);

COMMENT ON TABLE relay.replay IS 'Jobs of `relay replay`. The header x-replay of each message names its job.';
COMMENT ON COLUMN relay.replay.event_type IS 'A pattern for the event type, with * and ?.';
COMMENT ON COLUMN relay.replay.seqs IS 'Only events with these numbers: what `relay audit --repair` publishes.';
COMMENT ON COLUMN relay.replay.events IS 'How many events it will publish; NULL if that is not known.';
COMMENT ON COLUMN relay.replay.done_seq IS 'Every event of the range up to this number is confirmed or parked.';

-- The slot that keeps WAL for replays (RELAY_REPLAY_WINDOW). It is noted before it is made. A name proves nothing: a slot that is
-- not noted here is not the relay's, and is not moved.
ALTER TABLE relay.checkpoint ADD COLUMN replay_slot text;
COMMENT ON COLUMN relay.checkpoint.replay_slot IS
    'The slot that lags behind, so that the WAL can be replayed; NULL if this relay has made none.';
