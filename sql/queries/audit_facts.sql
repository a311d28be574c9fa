-- Since when confirms are recorded, by every relay that shares the outbox; and which tables of consumers are in this database and
-- readable. No row without a stored position of the relay. Events that were applied before `remembered` may have been pruned from
-- the inbox: nobody keeps them for less than an hour.
SELECT clock_timestamp()                                                    AS at,
       pg_current_snapshot()::text                                         AS now,
       bool_and(c.recorded_epoch IS NOT DISTINCT FROM c.epoch)              AS recorded,
       CASE WHEN bool_and(c.recorded_since IS NOT NULL) THEN
           (array_agg(c.recorded_since::text
                      ORDER BY pg_snapshot_xmax(c.recorded_since) DESC, pg_snapshot_xmin(c.recorded_since) DESC))[1]
           END                                                              AS since,
       range_agg(c.recorded_besides)::text                                  AS besides,
       coalesce(has_schema_privilege(to_regnamespace('tasks')::oid, 'USAGE')
            AND has_table_privilege(to_regclass('tasks.task')::oid, 'SELECT'), false) AS tasks,
       coalesce(has_schema_privilege(to_regnamespace('inbox')::oid, 'USAGE')
            AND has_table_privilege(to_regclass('inbox.message')::oid, 'SELECT')
            AND has_table_privilege(to_regclass('inbox.position')::oid, 'SELECT')
            AND has_table_privilege(to_regclass('inbox.parked')::oid, 'SELECT'), false) AS inbox
FROM relay.checkpoint AS c WHERE c.name IN (SELECT relay.members(%(relay)s)) HAVING bool_or(c.name = %(relay)s)
