"""Deliveries from a queue, and what became dead letters."""
