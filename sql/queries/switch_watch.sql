-- How far a switch is: the mode, whether a new slot is being made, the changes since one, and whether a relay
-- is active: whether a session has the lock of sql/queries/leader_take.sql. A standby has a session of the same name.
SELECT c.mode, c.making_slot, c.wanted,
       EXISTS (SELECT FROM pg_locks AS l
               WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
                 AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
                 AND (l.classid::bigint << 32) | l.objid::bigint = hashtextextended('outbox-relay ' || c.name, 0)) AS active,
       (SELECT coalesce(jsonb_agg(to_jsonb(h) ORDER BY h.number), '[]')
        FROM relay.handover AS h WHERE h.relay = c.name AND h.number > %(last)s) AS changes
FROM relay.checkpoint AS c WHERE c.name = %(relay)s
