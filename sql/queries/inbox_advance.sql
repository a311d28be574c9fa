-- Moves a consumer's position in an aggregate by one version: applied, stale or gap, and the position that was stored before.
SELECT verdict, stored
FROM inbox.advance(%(consumer)s, %(aggregate_type)s, %(aggregate_id)s, %(version)s::bigint, %(starts_at)s::bigint)
