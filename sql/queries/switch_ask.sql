-- Asks the active relay for a source; returns the mode that it is in, and what it was asked for before.
WITH before AS (
    SELECT name, mode, wanted FROM relay.checkpoint WHERE name = %(relay)s FOR UPDATE
)
UPDATE relay.checkpoint AS c SET wanted = %(to)s
FROM before WHERE c.name = before.name
RETURNING before.mode, before.wanted,
          (SELECT coalesce(max(number), 0) FROM relay.handover WHERE relay = %(relay)s) AS last
