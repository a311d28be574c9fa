-- The effects of the example handler `record`: append-only and without a unique constraint, so that a task that
-- was applied twice shows as two rows and is not hidden by an error.
CREATE SCHEMA IF NOT EXISTS demo;

CREATE TABLE IF NOT EXISTS demo.effect (
    task_id    uuid        NOT NULL,
    version    bigint      NOT NULL,
    worker     text        NOT NULL,
    payload    jsonb       NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
