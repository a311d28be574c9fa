"""Counters, samples, and the statistics of them."""
