-- Fails where rows may not be locked: that takes the right to update a column, whichever.
SELECT FROM {table} LIMIT 0 FOR UPDATE
