-- A handler in a transaction does not commit it: only its task's completion does, under a version check.
--
-- A cursor WITH HOLD is read to its end by the COMMIT of its transaction, before anything is committed. So the transaction
-- of a handler begins with such a cursor over this function, and the completion closes the cursor before it commits. Any
-- other COMMIT, whichever program or driver sends it, calls the function and fails with TK010; PREPARE TRANSACTION refuses
-- the cursor by itself, and in a DO block or a procedure Postgres refuses a COMMIT within a transaction.
-- https://www.postgresql.org/docs/current/sql-declare.html
CREATE FUNCTION tasks.refuse_commit() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RAISE EXCEPTION 'a task''s handler sent COMMIT: everything that it did in its transaction was rolled back'
        USING ERRCODE = 'TK010', HINT = 'Leave COMMIT out: the transaction is committed when the handler returns. '
            'To commit in steps, register the handler without in_transaction=True and give it a connection of its own.';
END $$;
