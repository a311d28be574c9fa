-- What a slot would send next, as its plugin writes it.
SELECT xid::text::bigint AS xid, data
FROM pg_logical_slot_peek_binary_changes(%(slot)s, %(upto)s::pg_lsn, NULL, VARIADIC %(options)s::text[])
