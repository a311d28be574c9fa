-- Those of some numbers that no row of the outbox has. There is no index on numbers: it reads the whole table, and is asked
-- only for what audit_extra.sql has found.
SELECT (%(seqs)s::int8multirange
        - coalesce((SELECT range_agg(int8range(e.seq, e.seq, '[]')) FROM outbox.event AS e
                    WHERE e.seq <@ %(seqs)s::int8multirange), '{}'))::text
