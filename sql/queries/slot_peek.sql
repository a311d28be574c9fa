-- The transactions that a slot would send next, in commit order. All tables are filtered out, so that a row that cannot
-- be decoded does no harm here. `end_lsn` is where the next record begins.
SELECT xid::text::bigint                 AS xid,
       (data::jsonb) ->> 'lsn'           AS commit_lsn,
       (data::jsonb) ->> 'nextlsn'       AS end_lsn,
       ((data::jsonb) ->> 'timestamp')::timestamptz AS committed_at
FROM pg_logical_slot_peek_changes(
    %(slot)s, %(upto)s::pg_lsn, %(rows)s, 'format-version', '2', 'include-transaction', '1', 'include-lsn', '1',
    'include-timestamp', '1', 'filter-tables', '*.*', 'add-msg-prefixes', 'none')
WHERE (data::jsonb) ->> 'action' = 'C'
