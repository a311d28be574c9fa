-- Submits the soak's tasks.
CALL bench.submit_soak(%(tasks)s, %(hang)s, %(seed)s)
