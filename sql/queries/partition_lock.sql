-- Takes the lock of a relay that is the active one (sql/queries/leader_take.sql), until the transaction ends, unless a session has
-- it: no relay of this name begins meanwhile.
SELECT pg_try_advisory_xact_lock(hashtextextended('outbox-relay ' || %(name)s, 0))
