"""From measurements to tables and JSON."""
