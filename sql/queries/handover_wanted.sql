-- What an operator has asked for with `relay switch`.
SELECT wanted FROM relay.checkpoint WHERE name = %(relay)s
