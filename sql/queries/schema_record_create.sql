-- The record of what has been applied; made first, by every run of setup.
CREATE TABLE IF NOT EXISTS public.outbox_relay_schema (
    name       text        PRIMARY KEY,
    checksum   text        NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT clock_timestamp()
)
