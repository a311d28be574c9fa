-- The events that pg-transactional-outbox has put away, or that its polling listener will find again.
SELECT id::text FROM peer.outbox WHERE processed_at IS NULL
