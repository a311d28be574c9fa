-- Makes tasks for grabbing; no message announces them.
SELECT tasks.demo_create(%(count)s)
