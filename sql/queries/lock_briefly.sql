-- Writers wait behind a statement that waits for a lock, so it waits for two seconds at most.
SELECT set_config('lock_timeout', '2s', false)
