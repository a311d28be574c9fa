-- What outbox.event has that the relay has not published, up to `limit`: since when, in how many transactions, how many
-- events. Of a round that was stored in part, what was read of it is published; so is what was streamed before, and what
-- has the mark of a poller. Events of other partitions are those of other relays.
SELECT coalesce(extract(epoch FROM clock_timestamp() - min(created_at)), 0)::float AS lag, count(DISTINCT tx::text), count(*)
FROM (
    SELECT e.created_at, e.tx
    FROM relay.checkpoint AS c
    JOIN outbox.event AS e ON e.tx >= pg_snapshot_xmin(c.snapshot) AND NOT pg_visible_in_snapshot(e.tx, c.snapshot)
    WHERE c.name = %(name)s
      AND (c.partitions = 1 OR outbox.partition_of(e.aggregate_type, e.aggregate_id, c.partitions) = c.partition)
      AND (c.round_snapshot IS NULL OR e.seq > c.round_seq OR NOT pg_visible_in_snapshot(e.tx, c.round_snapshot))
      AND NOT c.streamed @> e.tx::text::bigint
      AND NOT EXISTS (SELECT FROM relay.mark AS mark
                      WHERE mark.relay = c.name AND mark.outbox = 'outbox.event' AND mark.key = e.seq::text)
    LIMIT %(limit)s
) AS unseen
