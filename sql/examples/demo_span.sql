-- Seconds from the first effect to the last.
SELECT extract(epoch FROM max(applied_at) - min(applied_at))::float FROM demo.effect
