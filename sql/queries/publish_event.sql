-- Writes one event in the caller's transaction. The casts decide the error for a value that does not fit: it names the
-- value; without them, it would be "function does not exist".
SELECT outbox.publish(
    aggregate_type    => %(aggregate_type)s::text,
    aggregate_id      => %(aggregate_id)s::text,
    aggregate_version => %(aggregate_version)s::bigint,
    event_type        => %(event_type)s::text,
    payload           => %(payload)s::jsonb,
    headers           => %(headers)s::jsonb,
    id                => %(id)s::uuid,
    exchange          => %(exchange)s::text,
    routing_key       => %(routing_key)s::text
)
