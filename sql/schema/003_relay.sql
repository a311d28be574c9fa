-- What a relay remembers. It lives in the database that it reads, so a standby has it too, and a stored LSN can
-- never be ahead of the server that stores it.

CREATE SCHEMA relay;

CREATE TABLE relay.checkpoint (
    name              text        PRIMARY KEY,
    slot              text        NOT NULL,
    lsn               pg_lsn      NOT NULL,
    system_identifier text        NOT NULL,
    timeline          integer     NOT NULL,
    updated_at        timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON COLUMN relay.checkpoint.lsn IS
    'Every event of a transaction that ends at or before this LSN is confirmed by RabbitMQ.';
