"""What the relay keeps in Postgres beside the stream, and what Postgres' errors mean for it."""
