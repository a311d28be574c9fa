-- How many events of a relay are waiting in relay.parked, and the latest of them.
SELECT count(*) AS waiting,
       max(parked_at) AS latest_at,
       (array_agg(id || ' ' || reason || ': ' || detail ORDER BY parked_at DESC))[1] AS latest
FROM relay.parked WHERE relay = %(name)s AND redriven_at IS NULL AND discarded_at IS NULL
