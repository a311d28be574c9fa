-- One session's part of an even load.
CALL bench.write_evenly(to_timestamp(%(begins)s), %(session)s, %(sessions)s, %(rate)s, %(events)s)
