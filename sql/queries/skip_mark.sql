-- Marks rows as published.
INSERT INTO relay.mark (relay, outbox, key, tx)
SELECT DISTINCT %(relay)s, %(outbox)s, given.key, given.tx
FROM unnest(%(keys)s::text[], %(tx)s::xid8[]) AS given (key, tx)
ON CONFLICT DO NOTHING
