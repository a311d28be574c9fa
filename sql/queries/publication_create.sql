-- Creates the publication that pgoutput reads. CREATE PUBLICATION takes no parameters, so the two names in braces are
-- identifiers that psycopg.sql quotes. It must be committed before the slot is created. Rows of partitions are sent
-- with the name and the columns of the table.
CREATE PUBLICATION {publication} FOR TABLE {table} WITH (publish = 'insert', publish_via_partition_root = true)
