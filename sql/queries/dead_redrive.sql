-- Drives dead tasks again; returns the ids of those that were dead.
SELECT tasks.redrive(%(ids)s::uuid[])
