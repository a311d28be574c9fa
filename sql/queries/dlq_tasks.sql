-- The tasks that messages name: their type, status and version.
SELECT id, type, status, version FROM tasks.task WHERE id = ANY (%(ids)s::uuid[])
