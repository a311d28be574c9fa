-- Claims a parked event that an operator asked for: applied, stale, gap, or duplicate if it does not wait any more.
SELECT verdict, stored FROM inbox.take_parked(%(number)s::bigint, %(starts_at)s::bigint)
