"""The jobs of the project itself, one in each file."""
