-- The 64-bit ids of transactions whose low 32 bits a stream has.
SELECT relay.transaction_id(xid)::text::bigint FROM unnest(%(xids)s::bigint[]) AS xid
