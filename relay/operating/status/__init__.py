"""`relay status`: how the relay stands."""
