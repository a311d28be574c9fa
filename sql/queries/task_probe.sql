-- Writes a probe if tasks have been pending for longer than `wait` seconds, and none is on its way. Returns its id, or NULL.
SELECT tasks.send_probe(make_interval(secs => %(wait)s))
