-- Makes a publication of no table, for an outbox of logical messages: pgoutput streams those beside any publication,
-- but does not stream without one. The name in braces is an identifier, to be quoted by psycopg.sql.
CREATE PUBLICATION {publication} WITH (publish = 'insert')
