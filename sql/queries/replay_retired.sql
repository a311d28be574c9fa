-- What was removed from the outbox: no event of a later transaction than last_tx was in it.
SELECT retired_at AS at, last_tx::text::bigint AS last_tx FROM outbox.retired ORDER BY number
