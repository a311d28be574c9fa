-- A relay's stored position.
SELECT slot, lsn::text, system_identifier, timeline, updated_at FROM relay.checkpoint WHERE name = %(name)s
