"""The commands `consumers events ...`."""
