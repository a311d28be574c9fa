-- For this transaction: a poll of a table without tx compares all of it with its marks, which is one pass over both.
SELECT set_config('enable_nestloop', 'off', true), set_config('enable_mergejoin', 'off', true)
