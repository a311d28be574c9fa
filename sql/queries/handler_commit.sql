-- Commits a handler's transaction. CLOSE fails if that transaction has ended meanwhile: the cursor ended with it.
CLOSE consumers_task;
COMMIT
