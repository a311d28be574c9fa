-- Puts one parked event on the stream again, and marks it as redriven. The message has the whole event: the stored
-- bytes as base64, so that none of them changes, and the text of the headers as it is. No row if it does not wait.
WITH redriven AS (
    UPDATE relay.parked SET redriven_at = clock_timestamp(), redriven_tx = pg_current_xact_id()
    WHERE number = %(row)s AND relay = %(relay)s AND redriven_at IS NULL AND discarded_at IS NULL
    RETURNING *
)
SELECT pg_logical_emit_message(true, 'relay.redrive', json_build_object(
    'relay', relay, 'row', number, 'id', id, 'seq', seq, 'aggregate_type', aggregate_type, 'aggregate_id', aggregate_id,
    'aggregate_version', aggregate_version, 'event_type', event_type,
    'payload', translate(encode(payload, 'base64'), E'\n', ''), 'headers', headers::text, 'exchange', exchange,
    'routing_key', routing_key, 'created_at', created_at, 'content_type', content_type)::text)::text
FROM redriven
