-- Removes the marks that the stored snapshot stands for.
DELETE FROM relay.mark
WHERE relay = %(relay)s AND outbox = %(outbox)s AND pg_visible_in_snapshot(tx, %(snapshot)s::pg_snapshot)
