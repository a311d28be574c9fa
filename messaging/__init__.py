"""What relay and consumers share, and nothing else: AMQP connection, topology, message format, backoff.

It is the only package beside the relay's publisher that imports pika.
"""
