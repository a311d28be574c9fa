"""Limits of RabbitMQ that a test changes while it runs."""

from collections.abc import Iterator
from contextlib import contextmanager

from sandbox import Sandbox

# RabbitMQ 3 reads its environment at each channel, RabbitMQ 4 a persistent term that it sets at its start.
_SET = "application:set_env(rabbit, max_message_size, {0}), persistent_term:put(max_message_size, {0})."
_GET = "{ok, Size} = application:get_env(rabbit, max_message_size), Size."


@contextmanager
def largest_message(box: Sandbox, size: int) -> Iterator[None]:
    """Within the block, new channels accept messages of at most `size` bytes."""
    before = int(box.rabbitmq.control("eval", _GET))
    box.rabbitmq.control("eval", _SET.format(size))
    try:
        yield
    finally:
        box.rabbitmq.control("eval", _SET.format(before))
