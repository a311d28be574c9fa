-- The statuses of tasks by id.
SELECT id, status FROM tasks.task WHERE id = ANY (%(ids)s::uuid[])
