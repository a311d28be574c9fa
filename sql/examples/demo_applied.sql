-- How often each task was applied: the effects of handlers in transactions, and the runs of `note` that completed their task. A
-- run whose consumer was killed before it wrote the completion is not among these: its task ran again, at another version.
SELECT task_id, count(*)
FROM (
    SELECT task_id FROM demo.effect
    UNION ALL
    SELECT task_id FROM demo.run JOIN tasks.history USING (task_id)
    WHERE history.version = run.version + 1 AND history.to_status = 'completed'
) AS applied
GROUP BY task_id
