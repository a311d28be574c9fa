-- Notes in how many partitions an outbox is divided; if it is divided already, that stays.
INSERT INTO relay.partitioned (outbox, partitions) VALUES (%(outbox)s, %(partitions)s) ON CONFLICT DO NOTHING
