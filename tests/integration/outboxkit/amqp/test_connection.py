"""A connection to one of several nodes: a closed port stands for a node that is down."""

import asyncio
import gc
from urllib.parse import urlsplit

import pytest

from outboxkit.amqp.connection import Connection
from outboxkit.amqp.errors import BrokerUnavailable, LoginRefused
from outboxkit.amqp.turn import Turn
from outboxkit.errors import Problem
from sandbox import Isolated
from sandbox.machine import ports
from tests.support.proxy import Proxy


def place(isolated: Isolated) -> str:
    """Return `host:port` of the broker."""
    url = urlsplit(isolated.amqp_url)
    return f"{url.hostname}:{url.port}"


def beside(isolated: Isolated, *others: str) -> str:
    """Return the broker's URL with hosts before its own."""
    login, _, rest = isolated.amqp_url.rpartition("@")
    return f"{login}@{','.join([*others, rest])}"


async def reached(url: str, turn: Turn | None = None) -> str:
    """Connect, and return which node answered."""
    connection = await Connection.open(url, name="test", turn=turn)
    assert (await connection.channel()).is_open
    await connection.close()
    return connection.broker


def refused(url: str) -> Problem:
    with pytest.raises(Problem) as caught:
        asyncio.run(reached(url))
    return caught.value


def test_the_second_host_is_used_when_the_first_is_down(isolated: Isolated) -> None:
    (closed,) = ports.free(1)
    assert asyncio.run(reached(beside(isolated, f"127.0.0.1:{closed}"))) == f"{place(isolated)}/"
    assert asyncio.run(reached(f"amqp://u:p@127.0.0.1:{closed},{isolated.amqp_url}")) == f"{place(isolated)}/"


def test_an_error_names_every_host_and_what_to_do_about_each(isolated: Isolated) -> None:
    first, second = ports.free(2)
    found = refused(f"amqp://u:planted@127.0.0.1:{first},127.0.0.1:{second}/v")
    assert isinstance(found, BrokerUnavailable)
    assert found.what.startswith("none of 2 RabbitMQ nodes is usable: ")
    assert f"RabbitMQ at 127.0.0.1:{first}/v is not reachable" in found.what
    assert f"RabbitMQ at 127.0.0.1:{second}/v is not reachable" in found.what
    assert found.remedy == "check that it runs and that the AMQP URL names it"

    wrong = f"amqp://u:planted@{place(isolated)}"
    found = refused(f"{wrong},amqp://u:planted@127.0.0.1:{first}")
    assert isinstance(found, BrokerUnavailable)  # it may be back
    assert f"RabbitMQ at {place(isolated)}/ refused the user or password" in found.what
    assert "rabbitmqctl list_users" in found.remedy
    assert "check that it runs" in found.remedy
    assert "planted" not in str(found)

    assert isinstance(refused(f"{wrong},{wrong}"), LoginRefused)


def test_who_connects_again_begins_with_the_host_after_the_last_one(isolated: Isolated) -> None:
    async def scenario() -> None:
        turn = Turn()
        with Proxy(isolated.amqp_url) as first, Proxy(isolated.amqp_url) as second:
            urls = f"{first.url},{second.url}"
            hosts = [f"{urlsplit(each.url).netloc.rpartition('@')[2]}/" for each in (first, second)]
            assert [await reached(urls, turn) for _ in range(3)] == [hosts[0], hosts[1], hosts[0]]
            second.refuse.set()
            assert await reached(urls, turn) == hosts[0]
            assert await reached(urls) == hosts[0]  # without a turn, always from the first

    asyncio.run(scenario())


@pytest.mark.parametrize("turns", [0, 1, 2, 3, 5, 10, 1000])
def test_a_connection_that_is_given_up_while_it_opens_leaves_no_socket(isolated: Isolated, turns: int) -> None:
    """Nobody may be left to run the loop when the broker answers."""

    async def scenario(url: str) -> None:
        opening = asyncio.create_task(Connection.open(url, name="test"))
        for _ in range(turns):
            await asyncio.sleep(0)
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening

    with Proxy(isolated.amqp_url) as proxy:
        proxy.swallow_to_client.set()
        asyncio.run(scenario(proxy.url))
    gc.collect()  # pytest fails the test by a socket that is found open
