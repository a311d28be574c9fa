-- Records events that RabbitMQ has confirmed, each once.
INSERT INTO relay.confirmed (relay, seqs, ids, ids_hash)
SELECT %(relay)s, range_agg(int8range(seq, seq, '[]')), array_agg(id ORDER BY seq), sum(hashtextextended(id::text, 0)::numeric)
FROM (SELECT DISTINCT ON (seq) seq, id
      FROM unnest(%(confirmed_seqs)s::bigint[], %(confirmed_ids)s::uuid[]) AS given (seq, id) ORDER BY seq) AS confirmed
HAVING count(*) > 0
