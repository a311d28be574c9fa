-- Notes that probes have arrived; one that is not waited for any more is passed over. Returns how many were noted.
SELECT tasks.probes_arrived(%(ids)s::uuid[])
