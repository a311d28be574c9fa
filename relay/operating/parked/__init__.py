"""`relay parked`: events that could not be published, and what an operator does with them."""
