-- How many tasks are committed, and how many effects are applied.
SELECT (SELECT count(*) FROM tasks.task), (SELECT count(*) FROM demo.effect)
