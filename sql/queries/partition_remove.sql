-- Removes the positions of relays whose place others take, and with them the division of their outbox.
WITH removed AS (
    DELETE FROM relay.checkpoint WHERE name = ANY (%(names)s::text[]) RETURNING partitioned
)
DELETE FROM relay.partitioned WHERE outbox IN (SELECT partitioned FROM removed)
