-- What the control "last id" has beside the outbox: the number of the row that it published last, and the primary key of an
-- outbox as people write it.
CREATE SCHEMA control;
CREATE TABLE control.last_id (seq bigint NOT NULL);
INSERT INTO control.last_id SELECT coalesce(max(seq), 0) FROM outbox.event;
CREATE INDEX ON outbox.event (seq)
