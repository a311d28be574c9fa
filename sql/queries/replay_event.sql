-- The transaction of an event, the first of those with this id.
SELECT min(tx::text::bigint) AS tx FROM {table} WHERE {id}::text = %(id)s
