-- Submits a task. Its payload and headers are taken from the request's text, so that numbers keep all their digits.
SELECT tasks.submit(
    type         => %(type)s::text,
    payload      => (%(body)s::json -> 'payload')::jsonb,
    max_attempts => %(max_attempts)s::integer,
    headers      => %(trace)s::jsonb || coalesce((%(body)s::json -> 'headers')::jsonb, '{}'),
    id           => %(id)s::uuid,
    run_at       => %(run_at)s::timestamptz
)
