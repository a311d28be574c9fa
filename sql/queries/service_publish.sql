-- Writes one event. Its payload and headers are taken from the request's text, so that numbers keep all their digits.
SELECT outbox.publish(
    aggregate_type    => %(aggregate_type)s::text,
    aggregate_id      => %(aggregate_id)s::text,
    aggregate_version => %(aggregate_version)s::bigint,
    event_type        => %(event_type)s::text,
    payload           => coalesce((%(body)s::json -> 'payload')::jsonb, '{}'),
    headers           => %(trace)s::jsonb || coalesce((%(body)s::json -> 'headers')::jsonb, '{}'),
    id                => %(id)s::uuid,
    exchange          => %(exchange)s::text,
    routing_key       => %(routing_key)s::text
)
