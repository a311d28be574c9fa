-- Removes the marks of rows that are gone.
DELETE FROM relay.mark AS mark
WHERE mark.relay = %(relay)s AND mark.outbox = %(outbox)s
  AND NOT EXISTS (SELECT FROM {table} AS row WHERE row.{key}::text = mark.key)
