-- The slot that keeps WAL for replays: RELAY_REPLAY_WINDOW.

-- Noted before the slot is made. A name proves nothing: a slot that is not noted here is not the relay's, and is not moved.
ALTER TABLE relay.checkpoint ADD COLUMN replay_slot text;
COMMENT ON COLUMN relay.checkpoint.replay_slot IS
    'The slot that lags behind, so that the WAL can be replayed; NULL if this relay has made none.';
