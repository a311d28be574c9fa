-- A relay's stored position.
SELECT slot, replay_slot, mode, lsn::text, snapshot::text, making_slot, wanted, system_identifier, timeline, updated_at
FROM relay.checkpoint WHERE name = %(name)s
