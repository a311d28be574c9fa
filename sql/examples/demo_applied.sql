-- The number of effects of each task.
SELECT task_id, count(*) FROM demo.effect GROUP BY task_id
