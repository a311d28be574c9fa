-- Whether a transaction has not ended yet. NULL, for one too long ago to be known, is an end too; an id that the
-- server has not given out (it crashed, and lost it) is an error, 22023.
-- https://www.postgresql.org/docs/current/functions-info.html
SELECT coalesce(pg_xact_status(%(transaction)s::xid8) = 'in progress', false)
