-- How the publication publishes the outbox table; no row if the publication does not exist. A table that was dropped
-- and created again is no longer part of it, and its rows are not sent.
SELECT p.pubinsert                                                         AS inserts,
       p.pubviaroot                                                        AS through_root,
       EXISTS (SELECT FROM pg_publication_tables AS t
               WHERE t.pubname = p.pubname AND t.schemaname = %(schema)s AND t.tablename = %(table)s) AS has_table
FROM pg_publication AS p
WHERE p.pubname = %(publication)s
