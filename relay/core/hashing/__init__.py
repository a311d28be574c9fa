"""What the hash of an aggregate decides: its partition, and so which relay publishes it, and its queue."""
