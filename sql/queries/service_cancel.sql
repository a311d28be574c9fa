SELECT changed, status, version FROM tasks.try_cancel(%(id)s, %(expected)s)
