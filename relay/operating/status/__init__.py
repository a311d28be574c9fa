"""`relay status`: the state of the relay."""
