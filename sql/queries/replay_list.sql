-- The replays of a relay, or one of them, newest first. One that runs has its lock: without it, its process has ended.
SELECT r.job, r.relay, r.outbox, r.source, r.slot, r.after_snapshot::text, r.until_snapshot::text, r.after_lsn::text,
       r.until_lsn::text, r.first_event, r.last_event, r.aggregate_type, r.aggregate_id, r.event_type, r.seqs::text,
       r.exchange, r.queue, r.rate, r.system_identifier, r.timeline,
       CASE WHEN r.state IN ('finished', 'failed') THEN r.state WHEN held.job IS NOT NULL THEN 'running' ELSE 'interrupted' END AS state,
       r.detail, r.events, r.confirmed, r.parked, r.done_seq, r.done_lsn::text, r.created_at, r.created_by, r.updated_at,
       r.finished_at
FROM relay.replay AS r
LEFT JOIN LATERAL (
    SELECT r.job FROM pg_locks AS l
    WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
      AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND (l.classid::bigint << 32) | l.objid::bigint = hashtextextended('relay.replay ' || r.job, 0)
    LIMIT 1) AS held ON true
WHERE r.relay = ANY (ARRAY(SELECT relay.members(%(relay)s))) AND (%(job)s::bigint IS NULL OR r.job = %(job)s)
ORDER BY r.job DESC
