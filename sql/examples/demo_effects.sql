-- How many effects there are.
SELECT count(*) FROM demo.effect
