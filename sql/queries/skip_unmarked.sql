-- The condition for rows that have no mark.
NOT EXISTS (SELECT FROM relay.mark AS mark
            WHERE mark.relay = %(relay)s AND mark.outbox = %(outbox)s AND mark.key = row.{key}::text {each})
