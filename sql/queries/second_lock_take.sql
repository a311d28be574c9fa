-- Takes the advisory lock of a task until the end of the transaction, or returns false if another session has it.
-- Parameters: key, milliseconds. The transaction is idle while the task's handler runs, and this statement is repeated in
-- it well before the milliseconds are over. So a consumer that stands still loses its locks, as it loses its leases. Both
-- limits are set in this transaction alone; transaction_timeout exists since PostgreSQL 17.
-- https://www.postgresql.org/docs/current/functions-admin.html#FUNCTIONS-ADVISORY-LOCKS
SELECT
    pg_try_advisory_xact_lock(%(key)s),
    set_config('idle_in_transaction_session_timeout', %(milliseconds)s::text, true),
    CASE
        WHEN current_setting('transaction_timeout', true) IS NOT NULL
            THEN set_config('transaction_timeout', '0', true)
    END
