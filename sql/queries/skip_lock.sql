-- Locks a batch of rows that are not published, and returns them; if there are fewer than the batch may have, also how many
-- there were in the same snapshot: the others are locked by somebody else. There is always one row.
-- https://www.postgresql.org/docs/current/sql-select.html#SQL-FOR-UPDATE-SHARE
WITH locked AS MATERIALIZED (
    SELECT * FROM ({ranges}) AS row LIMIT {batch}
)
SELECT CASE WHEN (SELECT count(*) FROM locked) < {batch}
            THEN (SELECT count(*) FROM (SELECT FROM ({counted}) AS row LIMIT {most}) AS counted) END AS relay_found,
       locked.*
FROM (SELECT) AS one LEFT JOIN locked ON true
