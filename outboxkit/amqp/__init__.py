"""The AMQP connection, and the topology and message format that relay and consumers share.

Besides this package, only relay/publishing/link.py imports pika.
"""
