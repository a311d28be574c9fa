-- The relay's changes of source, in order.
SELECT from_mode, to_mode, reason FROM relay.handover ORDER BY at
