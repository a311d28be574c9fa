-- The part of an even load that one session writes.
CALL bench.write_evenly(to_timestamp(%(begins)s), %(session)s, %(sessions)s, %(rate)s, %(events)s)
