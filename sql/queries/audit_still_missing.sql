-- Those of some numbers that are neither confirmed nor parked yet: a repair confirms them.
SELECT (%(seqs)s::int8multirange
        - coalesce((SELECT range_agg(c.seqs) FROM relay.confirmed AS c
                    WHERE c.relay = ANY (ARRAY(SELECT relay.members(%(relay)s))) AND c.seqs && %(seqs)s::int8multirange), '{}')
        - coalesce((SELECT range_agg(int8range(p.seq, p.seq, '[]')) FROM relay.parked AS p
                    WHERE p.relay = ANY (ARRAY(SELECT relay.members(%(relay)s)))
                      AND (p.outbox IS NULL OR p.outbox = 'outbox.event')), '{}'))::text
