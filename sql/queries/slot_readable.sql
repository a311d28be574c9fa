-- Whether outbox.event shows all rows of transactions: `hidden` if row-level security keeps rows from this role, and
-- which of the transactions are committed and not visible yet, as when they wait for a synchronous standby.
SELECT row_security_active('outbox.event') AS hidden,
       ARRAY(SELECT xid FROM unnest(%(xids)s::bigint[]) AS xid
             WHERE NOT pg_visible_in_snapshot(relay.transaction_id(xid), pg_current_snapshot())) AS unseen
