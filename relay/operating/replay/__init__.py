"""`relay replay`: events of the past, published again."""
