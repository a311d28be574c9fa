-- Makes a replay of a relay, for the system that this is.
INSERT INTO relay.replay
    (relay, outbox, source, slot, after_snapshot, until_snapshot, after_lsn, until_lsn, first_event, last_event,
     aggregate_type, aggregate_id, event_type, seqs, exchange, queue, rate, events, state, system_identifier, timeline)
SELECT %(relay)s, %(outbox)s, %(source)s, %(slot)s, %(after_snapshot)s::pg_snapshot, %(until_snapshot)s::pg_snapshot,
       %(after_lsn)s::pg_lsn, %(until_lsn)s::pg_lsn, %(first_event)s, %(last_event)s, %(aggregate_type)s, %(aggregate_id)s,
       %(event_type)s, %(seqs)s::int8multirange, %(exchange)s, %(queue)s, %(rate)s, %(events)s, 'interrupted',
       system.system_identifier::text, relay.timeline()
FROM pg_control_system() AS system
RETURNING job
