-- The part of a load that one session writes.
CALL bench.write_schedule(%(load)s, %(begins)s, %(numbers)s, %(dues)s, %(opens)s, %(rollbacks)s, %(row_counts)s, %(payloads)s,
                          %(firsts)s, %(spans)s)
