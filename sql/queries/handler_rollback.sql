-- Rolls back a handler's transaction; a mere warning if the handler has ended it.
ROLLBACK
