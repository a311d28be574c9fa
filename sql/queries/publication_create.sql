-- Makes the publication that pgoutput reads; CREATE PUBLICATION takes no parameters, so the two names in braces are
-- identifiers, to be quoted by psycopg.sql. It must be committed before the slot is created. Rows of every partition
-- come under the table's own name and columns.
CREATE PUBLICATION {publication} FOR TABLE {table} WITH (publish = 'insert', publish_via_partition_root = true)
