-- Drops an old partition; returns what kept it from that, if anything.
SELECT outbox.drop_partition(%(partition)s, %(keep)s::interval)
