-- How many slots a relay has made within the last hour, and how many seconds remain until the first of them is older.
SELECT count(*) AS made, extract(epoch FROM min(at) + interval '1 hour' - clock_timestamp())::float AS seconds
FROM relay.handover
WHERE relay = %(relay)s AND new_slot AND at > clock_timestamp() - interval '1 hour'
