-- What the control "one confirm at a time" has: a column that says that a row is published, and an index of those that are not.
CREATE SCHEMA control;
ALTER TABLE outbox.event ADD COLUMN published_at timestamptz;
CREATE INDEX ON outbox.event (seq) WHERE published_at IS NULL
