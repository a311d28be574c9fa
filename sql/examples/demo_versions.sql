-- How many times a task ran again at a version at which it had run.
SELECT coalesce(sum(times - 1), 0)::bigint
FROM (
    SELECT count(*) AS times
    FROM (SELECT task_id, version FROM demo.effect UNION ALL SELECT task_id, version FROM demo.run) AS ran
    GROUP BY task_id, version HAVING count(*) > 1
) AS repeated
