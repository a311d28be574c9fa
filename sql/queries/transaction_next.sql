-- Draws an id for a transaction of its own: every transaction that has one now has a smaller one.
SELECT pg_current_xact_id()::text
