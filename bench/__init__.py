"""Benchmarks of the relay on private servers: drain, CPU, latency and memory, each checked for completeness.

They drive the project's own commands as real processes and look at them from outside: counts over HTTP, CPU and
memory from /proc, messages from a queue. Nothing here is imported by the product.
"""
