-- The rows of one range that are not published and that nobody else has locked, as far as they are asked for.
SELECT * FROM (
    SELECT {columns}, {tx} AS relay_tx, row.{key}::text AS relay_key
    FROM {table} AS row
    WHERE {range} AND {unmarked}
    FOR UPDATE OF row SKIP LOCKED
) AS free
