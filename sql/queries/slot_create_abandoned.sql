-- Ends this session's statement within a second after its client has disappeared, so that no half-made slot stays behind.
-- https://www.postgresql.org/docs/current/runtime-config-connection.html#GUC-CLIENT-CONNECTION-CHECK-INTERVAL
SELECT set_config('client_connection_check_interval', '1s', false)
