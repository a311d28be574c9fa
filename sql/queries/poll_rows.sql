-- The rows of a small round, each with its place in its transaction.
SELECT {columns}, place
FROM (SELECT *, row_number() OVER (PARTITION BY tx ORDER BY {key}) AS place FROM ({unseen}) AS row) AS numbered
WHERE {beyond}
ORDER BY {order}
