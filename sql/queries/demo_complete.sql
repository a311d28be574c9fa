-- Completes a task that this transaction has grabbed; NULL if it has another version.
SELECT tasks.demo_complete(%(id)s, %(version)s)
