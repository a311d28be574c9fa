-- Whether a task is there.
SELECT EXISTS (SELECT FROM tasks.task WHERE id = %(id)s)
