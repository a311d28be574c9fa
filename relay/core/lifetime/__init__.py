"""What ends, holds and tries again: tasks beside the stream, standstills, and the shutdown of the source."""
