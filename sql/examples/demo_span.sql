-- Seconds in which the middle nine tenths of the effects before a time were written, and how many those are: the rate while
-- events flow, without the last tasks that wait for a retry or for the end of a lease.
SELECT extract(epoch FROM max(applied_at) - min(applied_at))::float, count(*)
FROM (
    SELECT applied_at, percent_rank() OVER (ORDER BY applied_at) AS rank
    FROM demo.effect WHERE applied_at < %(until)s::timestamptz
) AS ranked
WHERE rank BETWEEN 0.05 AND 0.95
