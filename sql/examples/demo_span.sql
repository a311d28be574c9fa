-- Seconds in which the middle nine tenths of the completions before a time were written, and how many those are: the rate while
-- events flow, without the last tasks that wait for a retry or for the end of a lease.
SELECT extract(epoch FROM max(at) - min(at))::float, count(*)
FROM (
    SELECT at, percent_rank() OVER (ORDER BY at) AS rank
    FROM tasks.history WHERE to_status = 'completed' AND at < %(until)s::timestamptz
) AS ranked
WHERE rank BETWEEN 0.05 AND 0.95
