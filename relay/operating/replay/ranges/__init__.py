"""From what is asked to a range of the table, or of the WAL, with its count."""
