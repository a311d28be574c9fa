-- The last change of a relay from one source to the other.
SELECT from_mode, to_mode, reason, detail, at FROM relay.handover WHERE relay = %(name)s ORDER BY number DESC LIMIT 1
