-- The part of an even load of tasks that one session submits.
CALL bench.submit_evenly(to_timestamp(%(begins)s), %(session)s, %(sessions)s, %(rate)s, %(events)s, %(type)s)
