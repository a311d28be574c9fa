-- Removes old positions, and records of what was confirmed that are older than `keep`; merges the others.
SELECT relay.thin_positions(%(relay)s, %(keep)s::interval) + relay.tidy_confirmed(%(relay)s, interval '1 hour', %(keep)s::interval)
