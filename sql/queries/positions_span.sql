-- The times of a relay's first and last position.
SELECT min(at) AS first, max(at) AS last
FROM relay.checkpoint_history
WHERE relay = %(relay)s AND system_identifier = (SELECT system_identifier::text FROM pg_control_system())
