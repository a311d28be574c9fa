"""A tap that is a stream: what came is counted and read once, in order."""

from concurrent.futures import ThreadPoolExecutor

import pika
import pytest

from outboxkit.amqp.topology import EXCHANGE_TYPE
from sandbox import Isolated
from tests.support.oracles import Delivery
from tests.support.stream_tap import StreamTap


@pytest.fixture
def tap(isolated: Isolated) -> StreamTap:
    """Return a tap of an exchange called as its part of the sandbox."""
    with pika.BlockingConnection(pika.URLParameters(isolated.amqp_url)) as connection:
        connection.channel().exchange_declare(isolated.name, EXCHANGE_TYPE, durable=True)
    return StreamTap(isolated.amqp_url, queue=isolated.queue("stream"), exchange=isolated.name)


def publish(tap: StreamTap, exchange: str, *versions: int) -> list[Delivery]:
    """Publish one message for each version; return them as the tap must see them."""
    with tap.channel() as channel:
        channel.confirm_delivery()
        for version in versions:
            properties = pika.BasicProperties(
                message_id=f"m{version}",
                headers={"aggregate_type": "order", "aggregate_id": "1", "aggregate_version": version},
                delivery_mode=2,
            )
            channel.basic_publish(exchange, "order.made", b"{}", properties)
    return [Delivery(f"m{version}", "order", "1", version) for version in versions]


def test_what_came_is_counted_and_drained_once_and_in_order(isolated: Isolated, tap: StreamTap) -> None:
    assert (tap.waiting(), tap.drain()) == (0, [])
    first = publish(tap, isolated.name, *range(1, 1001))
    assert tap.waiting() == 1000
    second = publish(tap, isolated.name, 1001, 1002)
    tap.grows(1001)
    assert tap.drain() == [*first, *second]
    assert (tap.waiting(), tap.drain()) == (0, [])
    third = publish(tap, isolated.name, 1003)
    assert tap.drain() == third


def test_what_comes_while_it_is_read_is_left_for_the_next_time(isolated: Isolated, tap: StreamTap) -> None:
    with ThreadPoolExecutor(1) as pool:
        published = pool.submit(publish, tap, isolated.name, *range(1, 1001))
        while not published.done():
            tap.waiting()
    assert tap.drain() == published.result()
