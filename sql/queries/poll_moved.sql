-- The rows of those keys that no longer lie where they were: an update or a rewrite of the table has moved them.
SELECT {columns}, key.place, key.number
FROM unnest(%(tx)s::xid8[], %(key)s::{type}[], %(place)s::bigint[]) WITH ORDINALITY AS key (tx, key, place, number)
JOIN {table} AS row ON row.tx = key.tx AND row.{key} = key.key
ORDER BY key.number
