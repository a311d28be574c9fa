-- About how many tasks are in each status, by what the last ANALYZE of tasks.task found. No row if there was none.
SELECT common.status, round(pg_class.reltuples * common.share)::bigint AS tasks
FROM pg_class, pg_stats, unnest(most_common_vals::text::text[], most_common_freqs) AS common (status, share)
WHERE pg_class.oid = 'tasks.task'::regclass AND reltuples > 0
  AND schemaname = 'tasks' AND tablename = 'task' AND attname = 'status'
