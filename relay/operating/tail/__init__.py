"""`relay tail`: prints the messages of the stream."""
