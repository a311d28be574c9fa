"""The AMQP connection, the topology and the message format that relay and consumers agree on.

Beside it, only two files of the relay's publisher import pika: they need its frames.
"""
