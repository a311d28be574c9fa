"""Make events, boundaries and fences from the output of a plugin. Pure."""
