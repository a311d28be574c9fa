"""What the relay keeps in Postgres beside the stream."""
