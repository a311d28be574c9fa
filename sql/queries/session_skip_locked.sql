-- A poll must see every row, or fail. Postgres ends a transaction from which nothing comes for ten seconds, and lets go of its
-- rows: a poller that is frozen, or whose host has vanished, holds them no longer. It shows itself every two seconds.
-- https://www.postgresql.org/docs/current/runtime-config-client.html#GUC-IDLE-IN-TRANSACTION-SESSION-TIMEOUT
SELECT set_config('row_security', 'off', false),
       set_config('lock_timeout', '5s', false),
       set_config('idle_in_transaction_session_timeout', '10s', false)
