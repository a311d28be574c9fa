-- A position that either source can go on from: what was published, in terms of the WAL and in terms of the table.
--
-- A relay reads the WAL, or polls the table. All that a change from one to the other needs is in one row, and each save
-- writes all of it in one update, guarded by the epoch.

ALTER TABLE relay.checkpoint
    -- A relay that only polls has no slot.
    ALTER COLUMN slot DROP NOT NULL,
    ADD COLUMN streamed        int8multirange NOT NULL DEFAULT '{}',
    ADD COLUMN round_snapshot  pg_snapshot,
    ADD COLUMN round_seq       bigint,
    ADD COLUMN filter_snapshot pg_snapshot,
    ADD COLUMN filter_end      pg_lsn,
    ADD COLUMN making_slot     boolean NOT NULL DEFAULT false,
    ADD CONSTRAINT "polling goes on from a snapshot" CHECK (mode <> 'polling' OR snapshot IS NOT NULL),
    ADD CONSTRAINT "a round has a snapshot and a place" CHECK ((round_snapshot IS NULL) = (round_seq IS NULL)),
    ADD CONSTRAINT "a filter has a snapshot and an end" CHECK ((filter_snapshot IS NULL) = (filter_end IS NULL));

COMMENT ON COLUMN relay.checkpoint.streamed IS
    'Transactions that were published from the WAL, and that snapshot does not see.';
COMMENT ON COLUMN relay.checkpoint.round_snapshot IS
    'The later snapshot of a poll that has been read in part: up to round_seq.';
COMMENT ON COLUMN relay.checkpoint.filter_snapshot IS
    'What was polled: the stream passes over a transaction that it sees, or that is in streamed, if its commit record '
    'begins before filter_end.';
COMMENT ON COLUMN relay.checkpoint.making_slot IS 'A new slot is being made, while polling goes on.';

-- What an operator asks for with `relay switch`; the active relay obeys, on whatever host it runs.
ALTER TABLE relay.checkpoint
    ADD COLUMN wanted text NOT NULL DEFAULT 'auto' CONSTRAINT "wanted is auto, wal or polling" CHECK (wanted IN ('auto', 'wal', 'polling'));

CREATE TABLE relay.handover (
    number      bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    relay       text        NOT NULL,
    from_mode   text        NOT NULL,
    to_mode     text        NOT NULL,
    reason      text        NOT NULL,
    detail      text        NOT NULL,
    at          timestamptz NOT NULL DEFAULT clock_timestamp(),
    lsn         pg_lsn,
    snapshot    pg_snapshot,
    new_slot    boolean     NOT NULL DEFAULT false,
    duplicates  bigint
);
CREATE INDEX handover_of ON relay.handover (relay, at);

COMMENT ON TABLE relay.handover IS 'Each change of a relay from one source to the other.';
COMMENT ON COLUMN relay.handover.new_slot IS 'Whether a new slot was made for it.';
COMMENT ON COLUMN relay.handover.duplicates IS
    'How many events it published again at most, under their own ids; 0 for one in order, NULL if that is not known.';

-- A parked event is redriven by asking for it in its row: the relay reads it there, whichever source it reads, and marks it
-- when its message is confirmed. What an earlier version put on the stream, and may not have read there, is asked for.
ALTER TABLE relay.parked
    ADD COLUMN asked_at timestamptz,
    DROP COLUMN redriven_tx;
UPDATE relay.parked AS p SET asked_at = redriven_at, redriven_at = NULL
FROM relay.checkpoint AS c
WHERE c.name = p.relay AND p.redriven_at > c.updated_at - interval '1 minute';
CREATE INDEX parked_asked ON relay.parked (relay, seq, number) WHERE asked_at IS NOT NULL AND redriven_at IS NULL;

COMMENT ON COLUMN relay.parked.asked_at IS 'When an operator asked for it to be published again.';
COMMENT ON COLUMN relay.parked.redriven_at IS 'When it was published again.';

-- Retention: whole partitions are dropped once every relay of the outbox has published what is in them, and they are old.

CREATE TABLE outbox.retired (
    number     bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    partition  text        NOT NULL,
    events     bigint      NOT NULL,
    last_seq   bigint,
    last_id    uuid,
    ids_hash   numeric     NOT NULL,
    retired_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE outbox.retired IS 'What was removed from the outbox after it was published, so that an audit can account for it.';
COMMENT ON COLUMN outbox.retired.ids_hash IS
    'The sum of hashtextextended(id::text, 0) of its events: the same for the same ids in any order.';

-- Whether a partition has an event that one of `snapshots` does not see. One probe of the index on tx where each sees all of
-- them, whatever the planner knows of the partition: it runs while writers wait.
CREATE FUNCTION outbox.unseen(partition text, snapshots pg_snapshot[]) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET enable_seqscan = off
AS $$
DECLARE
    found boolean;
BEGIN
    EXECUTE format(
        'SELECT EXISTS (SELECT FROM outbox.%I AS event WHERE event.tx >= $2 AND EXISTS ('
        '    SELECT FROM unnest($1) AS snapshot WHERE NOT pg_visible_in_snapshot(event.tx, snapshot)))', partition)
    INTO found
    USING snapshots, (SELECT pg_snapshot_xmin(s) FROM unnest(snapshots) AS s ORDER BY 1 LIMIT 1);
    RETURN found;
END $$;

-- The relays of this outbox, and what each has published. The snapshot is NULL where that is not known: it is not stored
-- yet, or it was stored on another system, whose transactions have other numbers. The bodies of these functions are text,
-- so that none is dropped with the schema of another.
CREATE FUNCTION outbox.published() RETURNS TABLE (relay text, snapshot pg_snapshot)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT c.name, CASE WHEN c.system_identifier = system.system_identifier::text THEN c.snapshot END
    FROM relay.checkpoint AS c, pg_control_system() AS system
    WHERE c.outboxes IS NULL OR c.outboxes @> '{outbox.event}'
$$;

-- What keeps any event from being removed; NULL for nothing.
CREATE FUNCTION outbox.kept_by() RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE WHEN count(*) = 0 THEN 'no relay reads this outbox'
                WHEN count(*) > count(snapshot) THEN 'it is not known what was published by relay '
                    || string_agg(quote_literal(relay), ', ' ORDER BY relay) FILTER (WHERE snapshot IS NULL) END
    FROM outbox.published()
$$;

-- The partitions whose days ended `keep` ago or earlier, oldest first, and what keeps each from being dropped; NULL for
-- nothing.
CREATE FUNCTION outbox.old_partitions(keep interval)
RETURNS TABLE (partition text, until timestamptz, obstacle text)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    FOR partition, until IN
        SELECT child.relname, bound.until
        FROM pg_inherits AS i
        JOIN pg_class AS child ON child.oid = i.inhrelid
        CROSS JOIN LATERAL (
            SELECT (regexp_match(pg_get_expr(child.relpartbound, child.oid), $re$TO \('([^']+)'\)$re$))[1]::timestamptz
        ) AS bound (until)
        WHERE i.inhparent = 'outbox.event'::regclass AND child.relnamespace = 'outbox'::regnamespace
          AND bound.until <= clock_timestamp() - keep
        ORDER BY bound.until
    LOOP
        obstacle := coalesce(outbox.kept_by(), (
            SELECT 'it has events that were not published by relay ' || string_agg(quote_literal(p.relay), ', ' ORDER BY p.relay)
            FROM outbox.published() AS p WHERE outbox.unseen(partition, ARRAY[p.snapshot])));
        RETURN NEXT;
    END LOOP;
END $$;

-- Drops one partition of `old_partitions`, and notes what it had. Returns what kept it from that; NULL if it is dropped.
--
-- It locks the partition first, then checks, then drops, in one transaction: a check before the lock would not see the row
-- of a writer that the lock waited for. So each statement must have a snapshot of its own, which is READ COMMITTED.
--
-- Dropping a partition locks its table against everybody, and whoever comes meanwhile waits behind it. So it waits for that
-- lock for half a second at most. Whoever writes through the table is gone then; only a vacuum may hold one of the others, of
-- the partition and of the default one, and it is not waited for. The caller tries again later. (DETACH CONCURRENTLY is
-- refused beside a default partition: https://www.postgresql.org/docs/current/sql-altertable.html.)
CREATE FUNCTION outbox.drop_partition(name text, keep interval) RETURNS text
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
        'SELECT count(*) AS events, max(seq) AS last_seq, coalesce(sum(hashtextextended(id::text, 0)::numeric), 0) AS ids_hash,'
        '       (SELECT id FROM outbox.%1$I ORDER BY seq DESC LIMIT 1) AS last_id FROM outbox.%1$I', name) INTO counted;
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
    INSERT INTO outbox.retired (partition, events, last_seq, last_id, ids_hash)
    VALUES (name, counted.events, counted.last_seq, counted.last_id, counted.ids_hash);
    RETURN NULL;
END $$;

-- How many events of the default partition, which is never dropped, are old and published.
CREATE FUNCTION outbox.old_in_default(keep interval) RETURNS bigint
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT count(*) FROM outbox.event_default AS event
    WHERE outbox.kept_by() IS NULL AND event.created_at <= clock_timestamp() - keep
      AND NOT EXISTS (SELECT FROM outbox.published() AS p WHERE NOT pg_visible_in_snapshot(event.tx, p.snapshot))
$$;

-- Removes such events, a limited number at a time, and notes what they were; returns how many.
CREATE FUNCTION outbox.drain_default(keep interval, at_most integer DEFAULT 10000) RETURNS bigint
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
        RETURNING id, seq
    ), noted AS (
        INSERT INTO outbox.retired (partition, events, last_seq, last_id, ids_hash)
        SELECT 'event_default', count(*), max(seq), (array_agg(id ORDER BY seq DESC))[1],
               sum(hashtextextended(id::text, 0)::numeric)
        FROM removed HAVING count(*) > 0
        RETURNING events
    )
    SELECT coalesce(sum(events), 0) INTO gone FROM noted;
    RETURN gone;
END $$;
