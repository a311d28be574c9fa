-- Marks the rows of transactions that were streamed and that the published snapshot does not see.
INSERT INTO relay.mark (relay, outbox, key, tx)
SELECT c.name, %(outbox)s, row.{key}::text, row.tx
FROM relay.checkpoint AS c
JOIN {table} AS row ON row.tx >= lower(c.streamed)::text::xid8 AND row.tx::text::bigint <@ c.streamed
WHERE c.name = %(relay)s
ON CONFLICT DO NOTHING
