"""A primary and its standby: which one takes writes changes under load."""
