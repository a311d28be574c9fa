-- Grabs the oldest task that is pending, and holds its row until the transaction ends; no row if none is left.
SELECT id, payload, version, created_at FROM tasks.demo_grab(%(instance)s, %(skip_locked)s)
