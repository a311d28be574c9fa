-- Rows that are written from now on have the id of their transaction.
ALTER TABLE {table} ALTER COLUMN tx SET DEFAULT pg_current_xact_id()
