-- One task's transitions in their order; `dropped` is how many before each are no longer there.
SELECT version, dropped, from_status, to_status, at, by_whom, error FROM tasks.history_of(%(id)s)
