-- The WAL level that logical decoding would find. A server that has effective_wal_level raises `replica` by itself, with
-- its first logical slot: https://www.postgresql.org/docs/devel/runtime-config-preset.html
SELECT CASE
         WHEN current_setting('wal_level') = 'replica' AND current_setting('effective_wal_level', true) IS NOT NULL
           THEN 'logical'
         ELSE current_setting('wal_level')
       END AS wal_level
