-- The first events of a relay that an operator wants published again, as many as `bytes` of payloads allow beside the
-- first.
SELECT id, seq, aggregate_type, aggregate_id, aggregate_version, event_type, payload, headers::text AS headers, exchange,
       routing_key, created_at, content_type, tx::text::bigint AS transaction, number AS redrives, place
FROM (
    SELECT *, sum(octet_length(payload)) OVER (ORDER BY seq, number) - octet_length(payload) AS before
    FROM (SELECT * FROM relay.parked
          WHERE relay = %(relay)s AND asked_at IS NOT NULL AND redriven_at IS NULL AND discarded_at IS NULL
          ORDER BY seq, number LIMIT 500) AS first
) AS asked
WHERE before < %(bytes)s
ORDER BY seq, number
