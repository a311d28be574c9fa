-- Cancels a task if `expected` is its version, or NULL; no status means that there is no such task.
SELECT changed, status, version FROM tasks.try_cancel(%(id)s, %(expected)s)
