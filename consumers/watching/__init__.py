"""Metrics of a consumer, and the answer of `consumers status`."""
