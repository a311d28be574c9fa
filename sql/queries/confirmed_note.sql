-- Records events that RabbitMQ has confirmed.
SELECT relay.note_confirmed(%(relay)s, %(confirmed_seqs)s::bigint[], %(confirmed_ids)s::uuid[])
