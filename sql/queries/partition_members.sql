-- The relays that share an outbox with a relay, and itself: whether each is active (a session has the lock of
-- sql/queries/leader_take.sql), and when it stored its position. No row for a relay that publishes all of its outbox.
SELECT m.name, m.partition, m.partitions, m.vacant, m.updated_at,
       EXISTS (SELECT FROM pg_locks AS l
               WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
                 AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
                 AND (l.classid::bigint << 32) | l.objid::bigint = hashtextextended('outbox-relay ' || m.name, 0)) AS active
FROM relay.checkpoint AS m WHERE m.name IN (SELECT relay.members(%(name)s)) AND m.partitions > 1
ORDER BY m.partition
