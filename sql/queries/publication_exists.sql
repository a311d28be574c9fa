-- What the publication says of the outbox table; no row where there is no such publication. A table that was dropped
-- and made again is no longer in it, and its rows would not be in the stream.
SELECT p.pubinsert                                                         AS inserts,
       p.pubviaroot                                                        AS through_root,
       EXISTS (SELECT FROM pg_publication_tables AS t
               WHERE t.pubname = p.pubname AND t.schemaname = %(schema)s AND t.tablename = %(table)s) AS has_table
FROM pg_publication AS p
WHERE p.pubname = %(publication)s
