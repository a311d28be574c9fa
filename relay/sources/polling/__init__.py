"""The outbox, read by polling its table: while the WAL cannot be read, or where there is no right to read it."""
