-- Whether tasks.task is so small that all its rows may be counted each time.
SELECT pg_relation_size('tasks.task') <= %(bytes)s
