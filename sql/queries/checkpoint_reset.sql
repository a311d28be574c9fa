-- Sets a relay's checkpoint to where its slot stands, whatever it was before: a first setup, or an accepted gap.
INSERT INTO relay.checkpoint AS c (name, slot, lsn, system_identifier, timeline)
VALUES (%(name)s, %(slot)s, %(lsn)s::pg_lsn, %(system_identifier)s, %(timeline)s)
ON CONFLICT (name) DO UPDATE
SET slot = excluded.slot, lsn = excluded.lsn, system_identifier = excluded.system_identifier,
    timeline = excluded.timeline, updated_at = clock_timestamp()
