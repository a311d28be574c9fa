-- Applies events as a consumer does that compares versions: what is late or comes twice changes nothing.
INSERT INTO bench.applied AS known (aggregate_id, version)
SELECT aggregate_id, max(version) FROM unnest(%(aggregates)s::text[], %(versions)s::bigint[]) AS come (aggregate_id, version)
GROUP BY aggregate_id ORDER BY aggregate_id
ON CONFLICT (aggregate_id) DO UPDATE SET version = excluded.version WHERE excluded.version > known.version
