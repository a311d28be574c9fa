-- Deletes dead tasks; returns the ids of those that were dead.
SELECT tasks.discard(%(ids)s::uuid[])
