-- Moves a task to another time, as service_cancel cancels it.
SELECT changed, status, version FROM tasks.try_reschedule(%(id)s, %(run_at)s, %(expected)s)
