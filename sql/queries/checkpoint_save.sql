-- Stores how far a relay has confirmed. It never goes back on the same slot of the same system.
INSERT INTO relay.checkpoint AS c (name, slot, lsn, system_identifier, timeline)
VALUES (%(name)s, %(slot)s, %(lsn)s::pg_lsn, %(system_identifier)s, %(timeline)s)
ON CONFLICT (name) DO UPDATE
SET slot = excluded.slot,
    lsn = CASE WHEN c.slot = excluded.slot AND c.system_identifier = excluded.system_identifier
               THEN greatest(c.lsn, excluded.lsn) ELSE excluded.lsn END,
    system_identifier = excluded.system_identifier,
    timeline = excluded.timeline,
    updated_at = clock_timestamp()
