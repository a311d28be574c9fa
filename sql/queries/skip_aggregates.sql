-- Locks each aggregate until the transaction ends, and returns the places of those that somebody else has locked.
-- https://www.postgresql.org/docs/current/functions-admin.html#FUNCTIONS-ADVISORY-LOCKS
SELECT given.place
FROM unnest(%(types)s::text[], %(ids)s::text[]) WITH ORDINALITY AS given (type, id, place)
WHERE NOT pg_try_advisory_xact_lock(
    hashtextextended(jsonb_build_array('outbox-relay aggregate', %(relay)s::text, given.type, given.id)::text, 0))
