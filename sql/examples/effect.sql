-- The effects of the example handlers in transactions. The table is append-only and has no unique constraint, so that a task that
-- was applied twice has two rows.
CREATE SCHEMA IF NOT EXISTS demo;

CREATE TABLE IF NOT EXISTS demo.effect (
    task_id    uuid        NOT NULL,
    version    bigint      NOT NULL,
    worker     text        NOT NULL,
    payload    jsonb       NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- The runs of the example handler `note`, which is in no transaction; the demo copies them from its file.
CREATE TABLE IF NOT EXISTS demo.run (
    task_id uuid   NOT NULL,
    version bigint NOT NULL
);
