-- Cancels so many tasks that have not ended, drawn at random. Returns how many.
SELECT count(tasks.cancel(id)) FROM (
    SELECT id FROM tasks.task WHERE status IN ('pending', 'scheduled', 'running') ORDER BY random() LIMIT %(tasks)s
) AS drawn
