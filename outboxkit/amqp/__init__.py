"""The AMQP connection, and the topology and message format that relay and consumers share.

Besides this package, only the relay's publisher imports pika: it needs pika's frames.
"""
