-- Which of these tasks are grabbed at this moment, and by which session: uncommitted changes cannot be seen, locks can.
SELECT task_id,
       json_build_object('instance', regexp_replace(activity.application_name, '^writers ', ''),
                         'since', activity.xact_start)::text AS holder
FROM unnest(%(ids)s::uuid[]) AS task_id
JOIN pg_locks AS held ON held.locktype = 'advisory' AND held.objsubid = 1 AND held.granted
    AND held.database = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND (held.classid::bigint << 32) | held.objid::bigint = tasks.demo_lock(task_id)
JOIN pg_stat_activity AS activity USING (pid)
