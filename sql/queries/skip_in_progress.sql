-- Whether a transaction, and so what it has locked, is still open.
SELECT pg_xact_status(%(transaction)s::xid8) = 'in progress'
