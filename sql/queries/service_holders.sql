-- Which of these tasks are grabbed at this moment, and by which session: uncommitted changes cannot be seen, locks can.
-- A transaction that ends gives up its id first and its advisory locks last, so the next one may have the row before that: only
-- those count whose id is still that of their session.
WITH locks AS MATERIALIZED (SELECT * FROM pg_locks WHERE granted)
SELECT task_id,
       json_build_object('instance', regexp_replace(activity.application_name, '^writers ', ''),
                         'since', activity.xact_start)::text AS holder
FROM unnest(%(ids)s::uuid[]) AS task_id
JOIN locks AS held ON held.locktype = 'advisory' AND held.objsubid = 1
    AND held.database = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND (held.classid::bigint << 32) | held.objid::bigint = tasks.demo_lock(task_id)
JOIN locks AS own ON own.pid = held.pid AND own.locktype = 'transactionid' AND own.mode = 'ExclusiveLock'
JOIN pg_stat_activity AS activity ON activity.pid = held.pid AND activity.backend_xid = own.transactionid
