-- The keys of a large round, in order, and where each row lies. They outlive the transaction, so that none stays open while
-- the broker holds us up; and they are small, so that it does not matter how long the backlog is.
-- https://www.postgresql.org/docs/current/sql-declare.html
DECLARE relay_round NO SCROLL CURSOR WITH HOLD FOR
SELECT tx, {key}, place, relay_relation, relay_at
FROM (SELECT *, row_number() OVER (PARTITION BY tx ORDER BY {key}) AS place FROM ({unseen}) AS row) AS numbered
WHERE {beyond}
ORDER BY {order}
