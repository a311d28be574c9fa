-- How many effects each task has had.
SELECT task_id, count(*) FROM demo.effect GROUP BY task_id
