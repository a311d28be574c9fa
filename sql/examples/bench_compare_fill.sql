-- Makes the aggregates and the payloads that the loads of one comparison need.
WITH aggregates AS (INSERT INTO bench.aggregate (id) SELECT generate_series(0, %(aggregates)s::integer))
INSERT INTO bench.padding
SELECT bytes, left((SELECT string_agg(md5(n::text), '') FROM generate_series(0, bytes / 32) AS n), bytes)
FROM unnest(%(payload_bytes)s::integer[]) AS bytes
