-- Whether a task exists.
SELECT EXISTS (SELECT FROM tasks.task WHERE id = %(id)s)
