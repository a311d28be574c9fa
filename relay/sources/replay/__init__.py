"""A range of the past, read as a stream that ends."""
