-- Removes prepared statements. Not behind a pooler: PgBouncer keeps account of them for all its clients.
DEALLOCATE ALL
