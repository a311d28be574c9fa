-- Whether this database has been set up for tasks, and records by which version.
SELECT to_regclass('tasks.task') IS NOT NULL AND to_regclass('outbox.event') IS NOT NULL
   AND to_regclass('outbox_setup.applied') IS NOT NULL
