"""From what an output plugin writes to events and boundaries. Pure."""
