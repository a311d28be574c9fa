-- Removes what a handler has set, made or taken in its session: DISCARD ALL without DISCARD PLANS, which would have the
-- triggers of tasks.task planned again for each task, and without DEALLOCATE ALL. It follows the end of the transaction in
-- the same message, so that a pooler runs it in the same session.
-- https://www.postgresql.org/docs/current/sql-discard.html
CLOSE ALL;
SET SESSION AUTHORIZATION DEFAULT;
RESET ALL;
UNLISTEN *;
SELECT pg_advisory_unlock_all();
DISCARD TEMP;
DISCARD SEQUENCES
