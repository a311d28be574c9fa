-- The same, unless `key` has made a task. Two requests are the same if they ask for the same task: a field that is left out
-- is as its default, and the order of fields, spaces and the request's own trace do not count.
SELECT once.task_id, once.made, once.same
FROM (
    SELECT coalesce((%(body)s::json -> 'payload')::jsonb, '{}') AS payload,
           coalesce((%(body)s::json -> 'headers')::jsonb, '{}') AS headers,
           %(type)s::text AS type, %(max_attempts)s::integer AS max_attempts, %(run_at)s::timestamptz AS run_at
) AS asked,
LATERAL (
    SELECT jsonb_build_array(type, payload, max_attempts, headers, extract(epoch FROM run_at))::text AS words
) AS request,
LATERAL tasks.submit_once(
    key          => %(key)s::text,
    digest       => encode(sha256(convert_to(words, 'UTF8')), 'hex'),
    type         => asked.type,
    payload      => asked.payload,
    max_attempts => asked.max_attempts,
    headers      => %(trace)s::jsonb || asked.headers,
    id           => %(id)s::uuid,
    run_at       => asked.run_at
) AS once
