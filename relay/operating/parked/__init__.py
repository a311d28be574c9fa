"""`relay parked`: events that could not be published, and what an operator decides about them."""
