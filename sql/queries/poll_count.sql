-- How many rows a round has, up to `limit`.
SELECT count(*) FROM ({unseen} LIMIT %(limit)s) AS row
