-- For this transaction: a poll reads the index on tx from where everything is published, row by row, and stops at its limit;
-- it is neither compiled nor starts workers first.
SELECT set_config('enable_seqscan', 'off', true), set_config('enable_bitmapscan', 'off', true),
       set_config('jit', 'off', true), set_config('max_parallel_workers_per_gather', '0', true)
