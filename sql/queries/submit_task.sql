-- Submits one task in the caller's transaction, its event with it. The casts make a value that does not fit an
-- error of that value, and not of a function that does not exist.
SELECT tasks.submit(
    type         => %(type)s::text,
    payload      => %(payload)s::jsonb,
    max_attempts => %(max_attempts)s::integer,
    headers      => %(headers)s::jsonb,
    id           => %(id)s::uuid
)
