"""Benchmarks: drain, CPU, latency, memory, and the sources side by side, each checked for completeness.

They run the project's own commands as processes and measure them from outside: counts over HTTP, CPU and memory from
/proc, messages from a queue. No shipped package imports them.

report         tables and JSON
measures       the benchmarks, one file for each question
watch, stage   a publisher that is watched, and the database and exchange that it works on
load           processes that write, publish and receive; queues
instruments    counters, samples, and the statistics of them
"""
