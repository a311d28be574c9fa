-- Gives some rows this transaction's id: those from before the column tx, and those of another server.
UPDATE ONLY {table} SET tx = pg_current_xact_id()
WHERE ctid >= %(begin)s::tid AND ctid < %(end)s::tid AND ({which})
