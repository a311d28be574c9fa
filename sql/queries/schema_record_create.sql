-- The record of what has been applied, made by the first run of setup. Every part of the product compares it at start,
-- so every role may read it.
CREATE SCHEMA IF NOT EXISTS outbox_setup;
CREATE TABLE outbox_setup.applied (
    name       text        PRIMARY KEY,
    checksum   text        NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
GRANT USAGE ON SCHEMA outbox_setup TO PUBLIC;
GRANT SELECT ON outbox_setup.applied TO PUBLIC
