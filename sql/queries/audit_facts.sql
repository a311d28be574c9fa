-- What a relay says that it has published, and since when its confirms are recorded; and which tables of consumers are in
-- this database and readable. Events that were applied before `remembered` may have been pruned from the inbox: nobody keeps
-- them for less than an hour.
SELECT clock_timestamp()                                                    AS at,
       pg_current_snapshot()::text                                         AS now,
       c.snapshot::text                                                     AS published,
       c.streamed::text                                                     AS streamed,
       c.recorded_epoch IS NOT DISTINCT FROM c.epoch                        AS recorded,
       c.recorded_since::text                                               AS since,
       c.recorded_besides::text                                             AS besides,
       coalesce(has_schema_privilege(to_regnamespace('tasks')::oid, 'USAGE')
            AND has_table_privilege(to_regclass('tasks.task')::oid, 'SELECT'), false) AS tasks,
       coalesce(has_schema_privilege(to_regnamespace('inbox')::oid, 'USAGE')
            AND has_table_privilege(to_regclass('inbox.message')::oid, 'SELECT')
            AND has_table_privilege(to_regclass('inbox.position')::oid, 'SELECT')
            AND has_table_privilege(to_regclass('inbox.parked')::oid, 'SELECT'), false) AS inbox
FROM relay.checkpoint AS c WHERE c.name = %(relay)s
