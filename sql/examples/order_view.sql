-- The read model of the example handler `keep_order`: the status of each order, from its events.
CREATE SCHEMA IF NOT EXISTS demo;

CREATE TABLE IF NOT EXISTS demo.order_view (
    order_id   text        PRIMARY KEY,
    status     text        NOT NULL,
    version    bigint      NOT NULL,
    changed_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
