-- Events that could not be published: kept with the reason until an operator decides, so that the stream goes on.

CREATE TABLE relay.parked (
    id                text        PRIMARY KEY,
    seq               bigint      NOT NULL,
    aggregate_type    text        NOT NULL,
    aggregate_id      text        NOT NULL,
    aggregate_version bigint      NOT NULL,
    event_type        text        NOT NULL,
    payload           bytea       NOT NULL,
    headers           jsonb       NOT NULL,
    exchange          text,
    routing_key       text,
    created_at        timestamptz NOT NULL,
    relay             text        NOT NULL,
    after_lsn         pg_lsn,
    reason            text        NOT NULL,
    detail            text        NOT NULL,
    parked_at         timestamptz NOT NULL DEFAULT clock_timestamp(),
    times             integer     NOT NULL DEFAULT 1,
    redriven_at       timestamptz,
    discarded_at      timestamptz
);
CREATE INDEX parked_waiting ON relay.parked (parked_at) WHERE redriven_at IS NULL AND discarded_at IS NULL;

COMMENT ON TABLE relay.parked IS
    'What could not be published. A row waits until it is redriven or discarded; both leave it here as a record.';
COMMENT ON COLUMN relay.parked.payload IS 'Byte for byte what would have been the body.';
COMMENT ON COLUMN relay.parked.after_lsn IS 'A stream that opens after this LSN delivers the event again.';
COMMENT ON COLUMN relay.parked.times IS 'How often it was parked: once more for each redrive that failed.';
