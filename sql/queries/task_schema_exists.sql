-- Whether this database has been set up for tasks.
SELECT to_regclass('tasks.task') IS NOT NULL AND to_regclass('outbox.event') IS NOT NULL
