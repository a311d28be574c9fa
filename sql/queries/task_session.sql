-- Plans each statement on tasks again: a generic plan that was made for a small table would scan it when it has grown.
-- Planning costs a fraction of a millisecond for a whole batch.
-- https://www.postgresql.org/docs/current/runtime-config-query.html#GUC-PLAN-CACHE-MODE
SET plan_cache_mode = force_custom_plan
