-- The last event so far: those of the next part of a run are behind it.
SELECT coalesce(max(seq), 0) FROM outbox.event
