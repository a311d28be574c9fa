"""`relay setup`: creates the schema, the slot, its publication and the exchange."""
