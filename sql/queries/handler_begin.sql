-- Begins a handler's transaction, which only sql/queries/handler_commit.sql can commit (sql/schema/015_sessions.sql). It
-- is always READ COMMITTED: the lease of the task is extended while the handler runs, and its completion has to see that.
BEGIN ISOLATION LEVEL READ COMMITTED;
DECLARE consumers_task NO SCROLL CURSOR WITH HOLD FOR SELECT tasks.refuse_commit()
