-- The slot, as far as it is made. While it is being made there is a row, without a position, and its maker is active in it;
-- the server goes on making it after its client has gone.
SELECT database, plugin, active_pid, confirmed_flush_lsn::text AS start, coalesce(wal_status = 'lost', false) AS lost,
       database IS NOT DISTINCT FROM current_database() AS here
FROM pg_replication_slots WHERE slot_name = %(slot)s
