-- What retention removed that may have been committed behind the snapshot `after`, and which of it was neither confirmed nor
-- parked. What began before the record, or was streamed before it, may have been confirmed before it: it is not judged.
SELECT r.partition, r.events, r.retired_at,
       coalesce(r.first_tx >= pg_snapshot_xmax(%(recorded_since)s::pg_snapshot)
                AND NOT %(besides)s::int8multirange && int8range(r.first_tx::text::bigint, r.last_tx::text::bigint, '[]'),
                false) AS judged,
       (r.seqs - coalesce((SELECT range_agg(c.seqs) FROM relay.confirmed AS c
                           WHERE c.relay = ANY (ARRAY(SELECT relay.members(%(relay)s))) AND c.seqs && r.seqs), '{}')
               - coalesce((SELECT range_agg(int8range(p.seq, p.seq, '[]')) FROM relay.parked AS p
                           WHERE p.relay = ANY (ARRAY(SELECT relay.members(%(relay)s)))
                             AND (p.outbox IS NULL OR p.outbox = 'outbox.event')), '{}'))::text AS missing_seqs
FROM outbox.retired AS r
WHERE r.last_tx >= pg_snapshot_xmin(%(after)s::pg_snapshot) OR r.last_tx IS NULL AND r.retired_at >= %(since)s
ORDER BY r.number
