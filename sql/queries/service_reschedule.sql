SELECT changed, status, version FROM tasks.try_reschedule(%(id)s, %(run_at)s, %(expected)s)
