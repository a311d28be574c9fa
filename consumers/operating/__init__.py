"""The command `consumers`, and what an operator asks with it."""
