-- A parked event is one event of one relay as it stood in the stream, and never one per event id: an application may
-- write an id twice, and two relays may read tables whose ids are the same numbers. Where it stood is its transaction
-- and its place in it. The transaction is named by its 64-bit id, which whatever reads the event knows: the WAL, a poll of
-- the table, and `relay slot skip`; only the WAL knows the LSN of its commit.
--
-- The relay of an older version cannot park in this table: it ends when it has to, and this version's relay goes on.

ALTER TABLE relay.parked
    DROP CONSTRAINT parked_pkey,
    ALTER COLUMN id SET NOT NULL,
    ADD COLUMN number       bigint  GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    ADD COLUMN outbox       text,
    ADD COLUMN tx           xid8,
    ADD COLUMN place        integer,
    ADD COLUMN content_type text    NOT NULL DEFAULT 'application/json',
    ADD COLUMN redriven_tx  xid8;

-- The id is here so that no event is taken for another one, should a place be counted differently. An id may be
-- longer than an index takes.
CREATE UNIQUE INDEX parked_once ON relay.parked (relay, outbox, tx, place, left(id, 200));

DROP INDEX relay.parked_waiting;
CREATE INDEX parked_waiting ON relay.parked (relay, parked_at) WHERE redriven_at IS NULL AND discarded_at IS NULL;

COMMENT ON COLUMN relay.parked.number IS 'The row, for the commands of `relay parked`.';
COMMENT ON COLUMN relay.parked.outbox IS
    'A table as schema.table, or message:prefix; NULL in a row that was parked before this column was there.';
COMMENT ON COLUMN relay.parked.tx IS 'The transaction that wrote the event.';
COMMENT ON COLUMN relay.parked.place IS 'Which event of its transaction it is, from 1.';
COMMENT ON COLUMN relay.parked.redriven_tx IS 'The transaction that put it on the stream again.';

-- A stream carries the low 32 bits of a transaction's id. The id is the one next to the server's latest, before it or
-- after it: a transaction is in the WAL, and so in the stream, before a snapshot counts it as ended.
CREATE FUNCTION relay.transaction_id(low bigint) RETURNS xid8
LANGUAGE sql STABLE
AS $$
    SELECT greatest(0, latest + mod(mod(low - latest + 2147483648, 4294967296) + 4294967296, 4294967296) - 2147483648)
           ::text::xid8
    FROM (SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint AS latest) AS server
$$;
