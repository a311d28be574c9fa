-- The events that pg-transactional-outbox has put away: it tried each five times. Its replication listener sends no other row
-- that is not processed, once the slot is confirmed past it; so those are not among them.
SELECT id::text FROM peer.outbox WHERE abandoned_at IS NOT NULL
