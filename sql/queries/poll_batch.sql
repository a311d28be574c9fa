-- The rows of the keys that were fetched, by where they lie: by tx, each would cost all rows of its transaction. The other
-- conditions are written so that no index is used for them; another row may lie there by now.
SELECT {columns}, key.place, key.number
FROM unnest(%(tx)s::xid8[], %(key)s::{type}[], %(place)s::bigint[], %(relation)s::oid[], %(at)s::tid[])
    WITH ORDINALITY AS key (tx, key, place, relation, at, number)
JOIN {table} AS row ON row.ctid = key.at
WHERE row.tableoid IS NOT DISTINCT FROM key.relation
  AND row.tx IS NOT DISTINCT FROM key.tx AND row.{key} IS NOT DISTINCT FROM key.key
ORDER BY key.number
