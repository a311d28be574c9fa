-- A position has a kind, and an identity: what it is a position of. Existing rows are positions in the WAL; what is not
-- known of them is filled with the next save.

ALTER TABLE relay.checkpoint
    ADD COLUMN mode     text        NOT NULL DEFAULT 'wal' CONSTRAINT "mode is wal or polling" CHECK (mode IN ('wal', 'polling')),
    ADD COLUMN snapshot pg_snapshot,
    ADD COLUMN epoch    bigint      NOT NULL DEFAULT 0,
    ADD COLUMN database text,
    ADD COLUMN plugin   text,
    ADD COLUMN outboxes text[],
    ALTER COLUMN lsn DROP NOT NULL,
    ADD CONSTRAINT "a position in the WAL has an LSN" CHECK (mode <> 'wal' OR lsn IS NOT NULL);

COMMENT ON COLUMN relay.checkpoint.snapshot IS
    'Every event of a transaction that this snapshot sees is confirmed by RabbitMQ.';
COMMENT ON COLUMN relay.checkpoint.epoch IS 'How often the row was written: one more with each save.';
COMMENT ON COLUMN relay.checkpoint.outboxes IS 'Tables as schema.table, message prefixes as message:prefix.';

ALTER TABLE relay.parked ADD COLUMN after_snapshot pg_snapshot;

COMMENT ON COLUMN relay.parked.after_snapshot IS 'A poll that starts after this snapshot delivers the event again.';
