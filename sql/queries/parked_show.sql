-- All that is kept of one parked event.
SELECT to_jsonb(p) FROM relay.parked AS p WHERE id = %(id)s
