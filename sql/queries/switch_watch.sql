-- How far a switch is: the mode, whether a new slot is being made, the changes since one, and whether a relay is active.
SELECT c.mode, c.making_slot, c.wanted,
       EXISTS (SELECT FROM pg_stat_activity
               WHERE datname = current_database() AND application_name = c.name || ' leader') AS active,
       (SELECT coalesce(jsonb_agg(to_jsonb(h) ORDER BY h.number), '[]')
        FROM relay.handover AS h WHERE h.relay = c.name AND h.number > %(last)s) AS changes
FROM relay.checkpoint AS c WHERE c.name = %(relay)s
