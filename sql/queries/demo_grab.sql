-- Grabs the oldest task that is pending, and holds its row until the transaction ends; no row if none is left. A task of this
-- type that tasks.submit has made may have any payload, and then no number.
SELECT id, version, CASE WHEN payload->>'number' ~ '^[0-9]{1,9}$' THEN (payload->>'number')::integer END AS number
FROM tasks.demo_grab(%(instance)s, %(skip_locked)s)
