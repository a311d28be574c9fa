-- Marks every row that is visible now as published.
INSERT INTO relay.mark (relay, outbox, key)
SELECT DISTINCT %(relay)s, %(outbox)s, row.{key}::text FROM {table} AS row WHERE row.{key} IS NOT NULL
ON CONFLICT DO NOTHING
