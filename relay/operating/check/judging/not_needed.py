"""What is said of a check that the source of this relay does not need."""

NOT_NEEDED = "not needed: RELAY_SOURCE is {}"
