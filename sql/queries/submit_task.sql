-- Submits one task in the caller's transaction; its event too, unless it is due later. The casts decide the error for a value that does not fit:
-- it names the value; without them, it would be "function does not exist".
SELECT tasks.submit(
    type         => %(type)s::text,
    payload      => %(payload)s::jsonb,
    max_attempts => %(max_attempts)s::integer,
    headers      => %(headers)s::jsonb,
    id           => %(id)s::uuid,
    run_at       => %(run_at)s::timestamptz
)
