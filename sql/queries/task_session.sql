-- Plans statements on tasks anew each time: a generic plan made while the table was small would scan it when it has
-- grown, and planning costs a fraction of a millisecond for a whole batch.
-- https://www.postgresql.org/docs/current/runtime-config-query.html#GUC-PLAN-CACHE-MODE
SET plan_cache_mode = force_custom_plan
