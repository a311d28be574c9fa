-- How many rows a range has, and between which times they were written.
SELECT count(*) AS events, min(relay_created_at) AS first, max(relay_created_at) AS last FROM ({unseen}) AS row WHERE {chosen}
