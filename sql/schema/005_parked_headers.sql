-- A parked event's headers are kept just as they were written. jsonb does not hold all of them: a table of the
-- application's own may have json, and with it \u0000, half a surrogate pair, or numbers of any size.

ALTER TABLE relay.parked ALTER COLUMN headers TYPE json;

COMMENT ON COLUMN relay.parked.headers IS 'The JSON text that the row had.';
