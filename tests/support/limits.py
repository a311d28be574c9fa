"""Limits of RabbitMQ that a test changes while it runs."""

from collections.abc import Iterator
from contextlib import contextmanager

from sandbox.servers.backend import RabbitmqServer

# RabbitMQ 3 reads its environment at each channel, RabbitMQ 4 a persistent term that it sets at its start.
_SET = "application:set_env(rabbit, max_message_size, {0}), persistent_term:put(max_message_size, {0})."
_GET = "{ok, Size} = application:get_env(rabbit, max_message_size), Size."


@contextmanager
def largest_message(rabbitmq: RabbitmqServer, size: int) -> Iterator[None]:
    """Within the block, new channels accept messages of at most `size` bytes."""
    before = int(rabbitmq.control("eval", _GET))
    rabbitmq.control("eval", _SET.format(size))
    try:
        yield
    finally:
        rabbitmq.control("eval", _SET.format(before))
