-- A poll must be one probe of an index however large the table is, also where the planner has no statistics, or plans for
-- any value, and must neither be compiled nor start workers first. And it must see every row, or fail.
-- https://www.postgresql.org/docs/current/runtime-config-query.html
SELECT set_config('enable_seqscan', 'off', false),
       set_config('plan_cache_mode', 'force_custom_plan', false),
       set_config('row_security', 'off', false),
       set_config('jit', 'off', false), set_config('max_parallel_workers_per_gather', '0', false),
       set_config('lock_timeout', '5s', false)
