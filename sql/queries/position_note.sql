-- Notes the present position in relay.checkpoint_history, unless that was done just now.
SELECT relay.note_position(%(relay)s, make_interval(secs => %(every)s))
