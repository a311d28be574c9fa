-- Completes a task of the demo that is at this version; NULL if there is none. The service calls it in the grab's transaction.
SELECT tasks.demo_complete(%(id)s, %(version)s)
