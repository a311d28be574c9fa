-- Removes an index whose making was interrupted: it is invalid, and slows writers down.
DROP INDEX CONCURRENTLY {index}
