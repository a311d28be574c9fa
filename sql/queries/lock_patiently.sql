-- Waits for locks without a limit again.
SELECT set_config('lock_timeout', '0', false)
