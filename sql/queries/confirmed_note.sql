-- Records events that RabbitMQ has confirmed, each once.
INSERT INTO relay.confirmed (relay, seqs, ids, ids_hash)
SELECT %(relay)s, range_agg(int8range(seq, seq, '[]')), array_agg(id ORDER BY seq), sum(hashtextextended(id::text, 0)::numeric)
FROM (SELECT DISTINCT ON (seq) seq, id::uuid AS id
      FROM unnest(%(confirmed_seqs)s::bigint[], %(confirmed_ids)s::text[]) AS given (seq, id)
      -- A redriven event of another outbox has any text as its id; the relay publishes it, and nothing is to be proved by it.
      WHERE id ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
      ORDER BY seq) AS confirmed
HAVING count(*) > 0
