-- Used by `bench peers` for pg-transactional-outbox: copies what is written to outbox.event into the package's own table, which
-- its program makes at its first start. Its segments are the aggregates; what it has no column for is in `metadata`.
CREATE FUNCTION bench.copy_to_pg_transactional_outbox() RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
    INSERT INTO peer.outbox (id, aggregate_type, aggregate_id, message_type, segment, payload, metadata, created_at)
    SELECT id, aggregate_type, aggregate_id, event_type, aggregate_type || ' ' || aggregate_id, payload,
           headers || jsonb_build_object('aggregate_version', aggregate_version), created_at
    FROM written ORDER BY seq;
    RETURN NULL;
END $$;

CREATE TRIGGER copy_to_pg_transactional_outbox AFTER INSERT ON outbox.event
REFERENCING NEW TABLE AS written FOR EACH STATEMENT EXECUTE FUNCTION bench.copy_to_pg_transactional_outbox();
