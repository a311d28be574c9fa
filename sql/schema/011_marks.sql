-- What several pollers have published (RELAY_POLL_STRATEGY=skip_locked): a mark for each row, in a table of its own, so that
-- an insert into the outbox costs nothing more, and the outbox stays insert-only.
--
-- A mark is committed by the transaction that held the row while its message was published and confirmed, or parked. Where
-- the outbox has a column `tx`, marks are kept for a moment only: they are removed when relay.checkpoint.snapshot sees the
-- row's transaction, which means the same.

CREATE TABLE relay.mark (
    relay  text NOT NULL,
    outbox text NOT NULL,
    key    text NOT NULL,
    tx     xid8,
    PRIMARY KEY (relay, outbox, key)
);
COMMENT ON TABLE relay.mark IS 'Rows of an outbox that pollers have published, beside those that relay.checkpoint.snapshot sees.';
COMMENT ON COLUMN relay.mark.key IS 'The row: seq of outbox.event, the id of any other table.';
COMMENT ON COLUMN relay.mark.tx IS 'The transaction that wrote the row, if the table says.';
