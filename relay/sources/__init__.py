"""Where events come from: the WAL, read through logical replication."""
