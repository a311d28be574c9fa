-- The rows of one range that are not published, locked or not.
(SELECT FROM {table} AS row WHERE {range} AND {unmarked})
