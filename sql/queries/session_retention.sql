-- A partition is checked after its lock was waited for, which takes a new snapshot.
SELECT set_config('default_transaction_isolation', 'read committed', false)
