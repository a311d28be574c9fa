-- All that is kept of one parked event.
SELECT * FROM relay.parked WHERE id = %(id)s
