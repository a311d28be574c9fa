"""Processes that write, publish and receive, and the queues that they use."""
