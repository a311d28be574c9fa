-- Adds the column alone: rows from before have none. With a default, in one step, each would get this ALTER's id, and the
-- whole table would be published again.
ALTER TABLE {table} ADD COLUMN tx xid8
