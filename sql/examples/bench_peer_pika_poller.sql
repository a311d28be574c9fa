-- What a poller as people write it has: a column that says that a row is published, and an index of those that are not.
ALTER TABLE outbox.event ADD COLUMN published_at timestamptz;
CREATE INDEX ON outbox.event (seq) WHERE published_at IS NULL
