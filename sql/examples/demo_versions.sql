-- How many times a task ran again at a version at which it had run.
SELECT coalesce(sum(times - 1), 0)::bigint
FROM (SELECT count(*) AS times FROM demo.effect GROUP BY task_id, version HAVING count(*) > 1) AS repeated
