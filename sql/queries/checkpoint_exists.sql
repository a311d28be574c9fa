-- Whether a relay has a stored position, whatever version stored it.
SELECT EXISTS (SELECT FROM relay.checkpoint WHERE name = %(name)s)
