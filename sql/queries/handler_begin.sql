-- Begins a handler's transaction, which only sql/queries/handler_commit.sql can commit (sql/schema/015_sessions.sql).
BEGIN;
DECLARE consumers_task NO SCROLL CURSOR WITH HOLD FOR SELECT tasks.refuse_commit()
