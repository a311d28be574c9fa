-- For this transaction: a poll reads the index on tx from where everything is published, row by row, and stops at its limit.
SELECT set_config('enable_seqscan', 'off', true), set_config('enable_bitmapscan', 'off', true)
