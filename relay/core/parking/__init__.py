"""Rejected events: until they are parked, and when an operator has them published again."""
