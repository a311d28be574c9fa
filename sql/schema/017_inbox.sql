-- The inbox: what keeps a read model right although messages come twice, late and in any order. It is filled in the database
-- of whoever handles events, which may be another one than the outbox's, and in the transaction that the handler writes in.
--
-- A consumer is one handler under a name of its own, so that each handler of an event has its own claim. The functions are for
-- programs in any language: call them first in your transaction, and go on only if the verdict is 'applied'.

CREATE SCHEMA inbox;

CREATE TABLE inbox.message (
    consumer   text        NOT NULL,
    message_id text        NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (consumer, message_id),
    CONSTRAINT "a consumer has a name of 1 to 200 characters" CHECK (length(consumer) BETWEEN 1 AND 200),
    CONSTRAINT "a message has an id of 1 to 255 bytes" CHECK (octet_length(message_id) BETWEEN 1 AND 255)
);
CREATE INDEX message_age ON inbox.message (applied_at);  -- to prune it

COMMENT ON TABLE inbox.message IS 'Messages that a consumer has applied, or parked. Whoever inserts the row applies the message.';

CREATE TABLE inbox.position (
    consumer       text        NOT NULL,
    aggregate_type text        NOT NULL,
    aggregate_id   text        NOT NULL,
    version        bigint      NOT NULL,
    changed_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (consumer, aggregate_type, aggregate_id),
    CONSTRAINT "a consumer has a name of 1 to 200 characters" CHECK (length(consumer) BETWEEN 1 AND 200)
) WITH (fillfactor = 70);  -- updated in place: no index has a column that changes

COMMENT ON TABLE inbox.position IS 'The version of each aggregate up to which a consumer has applied every event.';

CREATE TABLE inbox.parked (
    number            bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    consumer          text        NOT NULL,
    message_id        text        NOT NULL,
    by_version        boolean     NOT NULL,
    aggregate_type    text        NOT NULL,
    aggregate_id      text        NOT NULL,
    aggregate_version bigint      NOT NULL,
    event_type        text        NOT NULL,
    routing_key       text        NOT NULL,
    created_at        timestamptz,
    headers           text        NOT NULL,
    body              bytea       NOT NULL,
    reason            text        NOT NULL,
    error             text        NOT NULL,
    parked_at         timestamptz NOT NULL DEFAULT clock_timestamp(),
    times             integer     NOT NULL DEFAULT 1,
    asked_at          timestamptz,
    applied_at        timestamptz,
    discarded_at      timestamptz,
    CONSTRAINT parked_once UNIQUE (consumer, message_id),
    CONSTRAINT "reason is failed, gap or unversioned" CHECK (reason IN ('failed', 'gap', 'unversioned')),
    CONSTRAINT "a parked event is applied or discarded, and not both" CHECK (applied_at IS NULL OR discarded_at IS NULL)
);
CREATE INDEX parked_waiting ON inbox.parked (number) WHERE applied_at IS NULL AND discarded_at IS NULL;
CREATE INDEX parked_asked ON inbox.parked (asked_at)
    WHERE asked_at IS NOT NULL AND applied_at IS NULL AND discarded_at IS NULL;

COMMENT ON TABLE inbox.parked IS
    'Events that a consumer could not apply. A row waits until it is redriven or discarded; both leave it here for a while.';
COMMENT ON COLUMN inbox.parked.by_version IS 'Whether the consumer checks versions: then later events wait for this one.';
COMMENT ON COLUMN inbox.parked.headers IS 'All headers of the message, as JSON text.';
COMMENT ON COLUMN inbox.parked.body IS 'Byte for byte the body of the message.';
COMMENT ON COLUMN inbox.parked.asked_at IS 'When an operator asked for it to be applied again; a consumer that runs takes it.';

-- Claims a message for a consumer. If another transaction is about to, this waits for its end: exactly one gets 'applied'.
CREATE FUNCTION inbox.claim(consumer text, message_id text) RETURNS text
LANGUAGE plpgsql
AS $$
BEGIN
    INSERT INTO inbox.message (consumer, message_id) VALUES (claim.consumer, claim.message_id) ON CONFLICT DO NOTHING;
    RETURN CASE WHEN FOUND THEN 'applied' ELSE 'duplicate' END;
END $$;

-- Moves a consumer's position in an aggregate to `version`, and returns what that means, with the position that was stored:
--
-- applied  `version` is the next one, and stored now; other transactions wait for the end of this one
-- stale    it was applied before, or lies before `starts_at`
-- gap      one before it was not applied; nothing is stored
--
-- An aggregate that the consumer does not know begins at `starts_at`; with NULL, at whatever comes first.
CREATE FUNCTION inbox.advance(
    consumer text, aggregate_type text, aggregate_id text, version bigint, starts_at bigint DEFAULT 1
) RETURNS TABLE (verdict text, stored bigint)
LANGUAGE plpgsql
AS $$
BEGIN
    LOOP
        stored := NULL;
        SELECT p.version INTO stored FROM inbox.position AS p
        WHERE p.consumer = advance.consumer AND p.aggregate_type = advance.aggregate_type
          AND p.aggregate_id = advance.aggregate_id
        FOR NO KEY UPDATE;
        verdict := CASE WHEN version = coalesce(stored + 1, starts_at, version) THEN 'applied'
                        WHEN version < coalesce(stored + 1, starts_at) THEN 'stale' ELSE 'gap' END;
        IF verdict <> 'applied' THEN
            NULL;
        ELSIF stored IS NOT NULL THEN
            UPDATE inbox.position AS p SET version = advance.version, changed_at = clock_timestamp()
            WHERE p.consumer = advance.consumer AND p.aggregate_type = advance.aggregate_type
              AND p.aggregate_id = advance.aggregate_id;
        ELSE
            INSERT INTO inbox.position (consumer, aggregate_type, aggregate_id, version)
            VALUES (advance.consumer, advance.aggregate_type, advance.aggregate_id, advance.version)
            ON CONFLICT DO NOTHING;
            CONTINUE WHEN NOT FOUND;  -- another transaction was first: look again
        END IF;
        RETURN NEXT;
        RETURN;
    END LOOP;
END $$;

-- Claims a parked event that was asked for, in the transaction that applies it. What is 'applied' or 'stale' waits no more.
CREATE FUNCTION inbox.take_parked(number bigint, starts_at bigint DEFAULT 1) RETURNS TABLE (verdict text, stored bigint)
LANGUAGE plpgsql
AS $$
DECLARE
    found_row inbox.parked;
BEGIN
    SELECT p.* INTO found_row FROM inbox.parked AS p
    WHERE p.number = take_parked.number AND p.asked_at IS NOT NULL AND p.applied_at IS NULL AND p.discarded_at IS NULL
    FOR UPDATE;
    verdict := CASE WHEN FOUND THEN 'applied' ELSE 'duplicate' END;
    IF verdict = 'applied' AND found_row.by_version THEN
        SELECT a.verdict, a.stored INTO verdict, stored
        FROM inbox.advance(found_row.consumer, found_row.aggregate_type, found_row.aggregate_id,
                           found_row.aggregate_version, starts_at) AS a;
    END IF;
    IF verdict IN ('applied', 'stale') THEN
        UPDATE inbox.parked AS p SET applied_at = clock_timestamp() WHERE p.number = take_parked.number;
    END IF;
    RETURN NEXT;
END $$;

-- Discards a parked event: its consumer will never apply it. If the consumer checks versions and this event is the next one,
-- its position moves past it, so that later events can be applied. Returns false if the event does not wait.
CREATE FUNCTION inbox.discard_parked(number bigint) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    found_row inbox.parked;
BEGIN
    UPDATE inbox.parked AS p SET discarded_at = clock_timestamp()
    WHERE p.number = discard_parked.number AND p.applied_at IS NULL AND p.discarded_at IS NULL
    RETURNING p.* INTO found_row;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    IF found_row.by_version THEN
        -- An event behind a gap is the next one only if the consumer knows the aggregate.
        PERFORM inbox.advance(found_row.consumer, found_row.aggregate_type, found_row.aggregate_id, found_row.aggregate_version,
                              found_row.aggregate_version - CASE WHEN found_row.reason = 'failed' THEN 0 ELSE 1 END);
    END IF;
    RETURN true;
END $$;

-- Removes what is older than `keep`, at most `batch` rows of each table, and returns how many: messages, and parked events that
-- were applied or discarded. The claim of an event that waits in inbox.parked stays: without it, the event could be applied
-- twice. Positions stay for ever.
CREATE FUNCTION inbox.prune(keep interval, batch integer DEFAULT 1000) RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    WITH old AS (
        SELECT m.consumer, m.message_id FROM inbox.message AS m
        WHERE m.applied_at < (SELECT clock_timestamp() - keep)
          AND NOT EXISTS (SELECT FROM inbox.parked AS p
                          WHERE p.consumer = m.consumer AND p.message_id = m.message_id
                            AND p.applied_at IS NULL AND p.discarded_at IS NULL)
        ORDER BY m.applied_at LIMIT batch
        FOR UPDATE SKIP LOCKED
    ), removed AS (
        DELETE FROM inbox.message AS m USING old
        WHERE m.consumer = old.consumer AND m.message_id = old.message_id RETURNING 1
    ), settled AS (
        SELECT p.number FROM inbox.parked AS p
        WHERE coalesce(p.applied_at, p.discarded_at) < (SELECT clock_timestamp() - keep)
        ORDER BY p.number LIMIT batch
        FOR UPDATE SKIP LOCKED
    ), forgotten AS (
        DELETE FROM inbox.parked AS p USING settled WHERE p.number = settled.number RETURNING 1
    )
    SELECT (SELECT count(*) FROM removed) + (SELECT count(*) FROM forgotten);
$$;
