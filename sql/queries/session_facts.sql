-- What consumers and the service look at in a session that they have just opened: whether it can write, and which process serves it.
SELECT pg_is_in_recovery() AS standby, current_setting('transaction_read_only')::boolean AS read_only, pg_backend_pid() AS pid
