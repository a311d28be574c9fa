-- Notes a change of the source.
INSERT INTO relay.handover (relay, from_mode, to_mode, reason, detail, lsn, snapshot, new_slot, duplicates)
VALUES (%(relay)s, %(from_mode)s, %(to_mode)s, %(reason)s, %(detail)s, %(lsn)s::pg_lsn, %(snapshot)s::pg_snapshot,
        %(new_slot)s, %(duplicates)s)
