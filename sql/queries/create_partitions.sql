-- Makes the outbox partitions of today and the coming week; returns how many it made.
SELECT outbox.create_partitions()
