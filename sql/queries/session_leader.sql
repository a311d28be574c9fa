-- Ends the session, and with it the lock, when nothing comes from its client for ten seconds: a relay that is frozen, or
-- whose host has vanished, is replaced after that. It asks every two seconds.
-- https://www.postgresql.org/docs/current/runtime-config-client.html#GUC-IDLE-SESSION-TIMEOUT
SELECT set_config('idle_session_timeout', '10s', false)
