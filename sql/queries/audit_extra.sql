-- The numbers of events that RabbitMQ confirmed within a stretch of time, and that are neither among the later rows of the
-- outbox nor among those that retention removed. What an earlier version removed is known by its last number only.
SELECT (coalesce((SELECT range_agg(c.seqs) FROM relay.confirmed AS c
                  WHERE c.relay = ANY (ARRAY(SELECT relay.members(%(relay)s)))
                    AND c.at > %(confirmed_after)s AND c.at <= %(confirmed_until)s), '{}')
        - coalesce((SELECT range_agg(int8range(e.seq, e.seq, '[]')) FROM outbox.event AS e
                    WHERE e.tx >= pg_snapshot_xmin(%(after)s::pg_snapshot)), '{}')
        - coalesce((SELECT range_agg(r.seqs) FROM outbox.retired AS r), '{}')
        - coalesce((SELECT int8multirange(int8range(NULL, max(r.last_seq), '[]')) FROM outbox.retired AS r
                    WHERE r.seqs IS NULL HAVING count(r.last_seq) > 0), '{}'))::text
