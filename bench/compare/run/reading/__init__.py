"""What is read of a run while it goes on: arrivals, commits, clocks, queues, sizes and what is spent."""
