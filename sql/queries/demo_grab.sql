SELECT id, payload, version, created_at FROM tasks.demo_grab(%(instance)s, %(skip_locked)s)
