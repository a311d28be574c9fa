-- Creates a publication without tables, for an outbox of logical messages: pgoutput sends those with any publication,
-- but needs one to start. The name in braces is an identifier that psycopg.sql quotes.
CREATE PUBLICATION {publication} WITH (publish = 'insert')
