"""The publisher against a real RabbitMQ: what settles a message, and what happens to the others."""

import asyncio
import threading
from dataclasses import replace
from typing import Any

import pytest
from msgspec import structs

from outboxkit.amqp.connection import Connection
from outboxkit.amqp.errors import ChannelRefused, ProtocolViolated
from relay.core.errors import MessageReturned
from relay.core.ledger import Stretch
from relay.core.observations import BrokerConnected, BrokerLost, Held, Nacked, Returned
from relay.publishing.link import Broker, Timings
from relay.publishing.publisher import RabbitPublisher
from sandbox import Sandbox
from sandbox.lifetime.isolation import Isolated
from tests.integration.relay.publishing.publisher_stage import POLICY, Bench, parcels, play
from tests.support.limits import largest_message
from tests.support.proxy import Proxy
from tests.support.wire import amqp


def test_a_routed_message_is_settled_and_arrives_with_its_properties(isolated: Isolated) -> None:
    async def scenario(it: Bench) -> None:
        queue = await it.queue()
        message = it.message(body='{"é": 1.10}'.encode())
        await it.has_settled(*await it.publish(message))

        properties, body = await it.get(queue)
        assert body == message.body
        assert properties.message_id == message.id
        assert properties.delivery_mode == 2
        assert properties.headers == message.all_headers()

    play(isolated, scenario)


def test_a_returned_message_is_not_settled_until_a_queue_takes_it(isolated: Isolated) -> None:
    """RabbitMQ confirms what it cannot route; only the return shows it."""

    async def scenario(it: Bench) -> None:
        routed = await it.queue("routed")
        (unroutable, fine) = await it.publish(it.message(key="unroutable"), it.message(key="routed"))
        await it.has_settled(fine)
        assert unroutable not in it.settled

        taken = await it.queue("unroutable")
        await it.has_settled(unroutable)
        assert (await it.ready(routed), await it.ready(taken)) == (1, 1)

    play(isolated, scenario)


def test_of_several_returned_messages_only_the_first_is_tried_again_so_that_none_overtakes_it(
    isolated: Isolated,
) -> None:
    session, published = amqp.Session(), list[str]()

    def watch(_: int, to_server: bool, data: bytes) -> None:  # noqa: FBT001 - the proxy's Watch
        facts = session.feed(data, to_server=to_server)
        published.extend(fact.message for fact in facts if isinstance(fact, amqp.Published))

    async def scenario(it: Bench) -> None:
        messages = [it.message() for _ in range(3)]
        first, second, third = (message.id for message in messages)
        stretches = await it.publish(*messages)
        async with asyncio.timeout(10):
            while len(published) < 6:
                await it.connection.call(it.channel.basic_qos)  # lets the loop run
        await it.queue()
        await it.has_settled(*stretches)
        tries = len(published) - 5
        assert published == [first, second, third, *[first] * tries, second, third]

    with Proxy(isolated.amqp_url, watch) as proxy:
        play(isolated, scenario, through=proxy.url)


def test_a_nacked_message_is_not_settled_until_the_broker_takes_it(isolated: Isolated) -> None:
    async def scenario(it: Bench) -> None:
        full = await it.queue(arguments={"x-max-length": 1, "x-overflow": "reject-publish"})
        await it.has_settled(*await it.publish(it.message()))
        (nacked,) = await it.publish(it.message())
        (nacked_too,) = await it.publish(it.message())
        await it.was_nacked(2)
        assert nacked not in it.settled

        await it.get(full)
        await it.has_settled(nacked)
        assert nacked_too not in it.settled
        await it.get(full)
        await it.has_settled(nacked_too)
        first = next(each.first for each in it.seen if isinstance(each, Nacked))
        assert (first.exchange, first.routing_key) == (it.name, "a.b")  # how many, the broker decides

    play(isolated, scenario)


def test_another_connection_is_tried_when_everything_is_nacked_and_nothing_is_overtaken_on_it(
    isolated: Isolated,
) -> None:
    """Before RabbitMQ 3.13, a channel may be nacked for as long as a lost node of its cluster is away."""

    async def scenario(it: Bench) -> None:
        full = await it.queue(arguments={"x-max-length": 1, "x-overflow": "reject-publish"})
        await it.has_settled(*await it.publish(it.message(body=b"first")))
        messages = [it.message(body=str(number).encode()) for number in range(3)]
        stretches = await it.publish(*messages)
        async with asyncio.timeout(15):
            while len([seen for seen in it.seen if isinstance(seen, BrokerConnected)]) < 3:
                await it.connection.call(it.channel.basic_qos)  # lets the loop run
        taken = []
        for left, stretch in zip((3, 2, 1), stretches, strict=True):
            await it.was_nacked(left)
            taken.append((await it.get(full))[1])
            await it.has_settled(stretch)
        assert taken == [b"first", b"0", b"1"]
        lost = [str(seen.problem) for seen in it.seen if isinstance(seen, BrokerLost)]
        assert "has nacked everything on this connection" in lost[0]

    play(isolated, scenario, timings=Timings(check_every=0.05, nacks_for=0.2))


def test_a_full_window_lets_nothing_more_in(isolated: Isolated) -> None:
    async def scenario(it: Bench) -> None:
        messages = [it.message(key="later") for _ in range(5)]  # two are sent, and more than one waits
        stretches = [Stretch() for _ in messages]
        publishing = asyncio.create_task(it.publisher.publish(parcels(stretches, messages)))
        done, _ = await asyncio.wait([publishing], timeout=0.3)
        assert not done

        await it.queue("later")
        async with asyncio.timeout(15):
            await publishing
        await it.has_settled(*stretches)

    play(isolated, scenario, window=2)


def test_a_closed_channel_loses_nothing_and_goes_on_in_order(isolated: Isolated) -> None:
    """RabbitMQ closes the channel at a message for a missing exchange, and leaves the others in doubt."""

    async def scenario(it: Bench) -> None:
        queue = await it.queue()
        missing = f"{it.name}.missing"
        messages = [it.message(body=str(number).encode()) for number in range(50)]
        lost = it.message(body=b"lost", exchange=missing)
        stretches = await it.publish(*messages[:25], lost, *messages[25:])
        assert not {stretches[25], stretches[-1]} & set(it.settled)

        await it.declare(missing)
        await it.has_settled(*stretches)
        bodies = [(await it.get(queue))[1] for _ in range(await it.ready(queue))]
        first = list(dict.fromkeys(body for body in bodies if body != b"lost"))
        assert first == [message.body for message in messages]
        assert b"lost" in bodies

    play(isolated, scenario)


def test_a_missing_exchange_is_reported_at_the_start(isolated: Isolated) -> None:
    async def scenario() -> None:
        policy = replace(POLICY, exchange=f"{isolated.name}.none")
        await RabbitPublisher(lambda: Broker(isolated.amqp_url), policy, lambda _: None, fenced=lambda: False).connect()

    with pytest.raises(ChannelRefused, match=r"404.*none.*relay setup"):
        asyncio.run(scenario())


def test_a_returned_message_is_rejected_once_if_the_policy_is_to_park(isolated: Isolated) -> None:
    async def scenario(it: Bench) -> None:
        await it.queue("routed")
        unroutable = [it.message(key="unroutable") for _ in range(3)]
        (*rejected, fine) = await it.publish(*unroutable, it.message(key="routed"))
        await it.was_rejected(*rejected)
        await it.has_settled(fine)
        assert [(each.reason, "NO_ROUTE" in each.detail) for each in it.rejections] == [("returned", True)] * 3
        seen = [each for each in it.seen if isinstance(each, Returned)]
        assert seen[0].first.message_id == unroutable[0].id
        assert sum(each.count for each in seen) == 3
        assert it.settled == [fine]
        assert it.publisher.in_flight() == 0

    play(isolated, scenario, on_return="park")


def test_a_returned_message_ends_the_relay_if_the_policy_is_to_halt(isolated: Isolated) -> None:
    async def scenario(it: Bench) -> None:
        await it.publish(it.message(key="unroutable"))
        with pytest.raises(MessageReturned, match="no queue takes routing key 'unroutable'"):
            await it.running
        assert it.settled == []

    play(isolated, scenario, on_return="halt")


@pytest.mark.parametrize(
    ("change", "reason", "words"),
    [
        ({"body": b"x" * 2000}, "too_large", "RELAY_MAX_MESSAGE_BYTES is 1024"),
        ({"headers": {"x": "y" * 2000}}, "too_large", "RELAY_MAX_MESSAGE_BYTES is 1024"),
        ({"headers": {"n": 2**64}}, "unencodable", "beyond 64 bits"),
    ],
)
def test_what_cannot_be_published_is_rejected_before_it_is_sent(
    isolated: Isolated, change: dict[str, Any], reason: str, words: str
) -> None:
    async def scenario(it: Bench) -> None:
        queue = await it.queue()
        (bad, good) = await it.publish(structs.replace(it.message(), **change), it.message())
        await it.has_settled(good)
        await it.was_rejected(bad)
        assert [each.reason for each in it.rejections] == [reason]
        assert words in it.rejections[0].detail
        assert await it.ready(queue) == 1

    play(isolated, scenario, max_message_bytes=1024)


def test_a_message_that_the_broker_does_not_take_is_rejected_and_the_others_are_confirmed(
    isolated: Isolated, sandbox: Sandbox
) -> None:
    async def scenario(it: Bench) -> None:
        await it.queue()
        (before, large, after) = await it.publish(it.message(), it.message(body=b"x" * 5000), it.message())
        await it.has_settled(before, after)
        await it.was_rejected(large)
        assert [(each.reason, "larger than" in each.detail) for each in it.rejections] == [("refused", True)]
        assert it.publisher.in_flight() == 0

    with largest_message(sandbox.rabbitmq, 1000):
        play(isolated, scenario)


def test_answers_that_are_late_until_the_connection_was_given_up_change_nothing_and_it_is_reset(
    isolated: Isolated,
) -> None:
    """Four messages are routed and one is not; their answers come when the next connection has sent them again."""
    from_first: list[bytes] = []

    def watch(connection: int, to_server: bool, data: bytes) -> None:  # noqa: FBT001 - the proxy's Watch
        if to_server and connection == 0:
            from_first.append(data)

    async def scenario(it: Bench) -> None:
        queue = await it.queue("routed")
        proxy.hold()
        messages = [it.message(key="unroutable"), *(it.message(key="routed") for _ in range(4))]
        unroutable, *routed = await it.publish(*messages)
        async with asyncio.timeout(10):
            while not any(isinstance(each, BrokerLost) for each in it.seen):
                await it.connection.call(it.channel.basic_qos)  # lets the loop run
        sent = len(from_first)
        proxy.slow(2000)
        async with asyncio.timeout(20):
            while sum(isinstance(each, BrokerConnected) for each in it.seen) < 2:
                await it.connection.call(it.channel.basic_qos)
        proxy.release()
        await it.was_rejected(unroutable)
        await it.has_settled(*routed)
        assert [each.parcel.stretch for each in it.rejections] == [unroutable]
        assert sorted(map(id, it.settled)) == sorted(map(id, routed))
        assert await it.ready(queue) == 2 * len(routed)
        assert len(from_first) == sent

    with Proxy(isolated.amqp_url, watch) as proxy:
        timings = Timings(check_every=0.05, ask_after=1, answer_within=2)
        play(isolated, scenario, through=proxy.url, on_return="park", timings=timings)


def test_two_messages_with_one_id_are_told_apart(isolated: Isolated) -> None:
    async def scenario(it: Bench) -> None:
        await it.queue("routed")
        for _ in range(20):
            first = it.message(key="routed")
            second = structs.replace(first, route=it.message(key="unroutable").route)
            taken, returned, behind = await it.publish(first, second, it.message(key="routed"))
            await it.was_rejected(returned)
            await it.has_settled(taken, behind)
        assert (len(it.rejections), len(it.settled)) == (20, 40)

    play(isolated, scenario, on_return="park")


def test_an_error_in_taking_an_answer_ends_the_publisher_with_it(
    isolated: Isolated, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is a bug; pika takes it for a lost connection."""

    async def scenario(it: Bench) -> None:
        def fail(_: object) -> None:
            raise ValueError("an event was settled that is not in flight")

        monkeypatch.setattr(it, "confirmed", fail)
        await it.queue("routed")
        await it.publish(it.message(key="routed"))
        async with asyncio.timeout(10):
            with pytest.raises(ValueError, match="settled that is not in flight"):
                await it.running
            await it.publisher.drained()
        assert not any(isinstance(each, BrokerLost) for each in it.seen)

    play(isolated, scenario)


def test_an_answer_for_what_was_not_sent_ends_the_publisher_as_a_violation_of_the_protocol(
    isolated: Isolated,
) -> None:
    async def scenario(it: Bench) -> None:
        await it.queue("routed")
        await it.has_settled(*await it.publish(it.message(key="routed")))
        it.publisher._pipeline.forget()  # noqa: SLF001 - the broker itself does not break the protocol
        await it.has_settled(*await it.publish(it.message(key="routed")))

    async def violated(it: Bench) -> None:
        publishing = asyncio.create_task(scenario(it))
        async with asyncio.timeout(10):
            with pytest.raises(ProtocolViolated, match=r"RabbitMQ answered for delivery tag 2, .* report it"):
                await it.running
        publishing.cancel()

    play(isolated, violated)


def test_what_is_forgotten_is_never_published(isolated: Isolated) -> None:
    async def scenario(it: Bench) -> None:
        (dropped,) = await it.publish(it.message(key="later", body=b"old"))
        it.publisher.forget()
        queue = await it.queue("later")
        (after,) = await it.publish(it.message(key="later", body=b"new"))
        await it.has_settled(after)
        assert dropped not in it.settled
        assert [(await it.get(queue))[1] for _ in range(await it.ready(queue))] == [b"new"]

    play(isolated, scenario)


def test_what_waits_for_the_socket_is_not_sent_any_more(isolated: Isolated) -> None:
    """Pika keeps what the kernel's buffers have no room for, and would send it when another process is active."""
    count = 30
    body = b'"%b"' % (b"x" * 1_000_000)

    async def scenario(it: Bench) -> None:
        queue = await it.queue()
        proxy.slow(1000)
        await it.publish(*(it.message(body=body) for _ in range(count)))
        it.publisher.forget()
        proxy.slow(None)
        async with asyncio.timeout(20):
            while sum(isinstance(each, BrokerConnected) for each in it.seen) < 2:
                await it.connection.call(it.channel.basic_qos)  # lets the loop run
        assert await it.ready(queue) < count

    with Proxy(isolated.amqp_url) as proxy:
        play(isolated, scenario, through=proxy.url, max_message_bytes=2 << 20)


@pytest.mark.parametrize("size", [10, 1_000_000])
def test_nothing_is_sent_while_another_process_may_be_active_and_everything_once_it_is_not(
    isolated: Isolated, size: int
) -> None:
    """Small messages wait in the pipeline; of large ones, a part waits for the socket, in pika's buffer."""
    fence, body = threading.Event(), b'"%b"' % (b"x" * size)

    async def scenario(it: Bench) -> None:
        queue = await it.queue()
        if size > 10:
            proxy.slow(1000)
            before = [it.message(body=body) for _ in range(30)]
            stretches = await it.publish(*before)
            fence.set()
            proxy.slow(None)
        else:
            fence.set()
            stretches = await it.publish(it.message(body=body))
        arrived = await it.ready(queue)
        await asyncio.wait([it.running], timeout=2)
        sent = await it.ready(queue)
        assert sent < len(stretches)
        fence.clear()
        await it.has_settled(*stretches)
        assert await it.ready(queue) == len(stretches)
        assert [type(each) for each in it.seen].count(BrokerConnected) == 1
        assert arrived <= sent

    with Proxy(isolated.amqp_url) as proxy:
        play(isolated, scenario, through=proxy.url, max_message_bytes=2 << 20, fenced=fence.is_set)


def test_a_message_that_no_queue_takes_limits_what_is_published_behind_it(isolated: Isolated) -> None:
    """A crash publishes again everything behind the oldest message without an outcome."""

    async def scenario(it: Bench) -> None:
        queue = await it.queue("routed")
        await it.publish(it.message(key="later"))
        behind = [it.message(key="routed") for _ in range(20)]

        async def publish_all() -> None:
            for message in behind:
                await it.publisher.publish(parcels([Stretch()], [message]))

        publishing = asyncio.create_task(publish_all())
        done, _ = await asyncio.wait([publishing], timeout=1)
        assert not done
        assert await it.ready(queue) < 5
        await it.queue("later")
        async with asyncio.timeout(20):
            await publishing

    play(isolated, scenario, window=5)


def test_the_message_that_the_channel_is_closed_for_is_named_and_the_others_are_confirmed_once(
    isolated: Isolated,
) -> None:
    async def scenario(it: Bench) -> None:
        queue = await it.queue()
        culprit = it.message(exchange=isolated.exchange("missing"))
        (*before, lost, after) = await it.publish(*(it.message() for _ in range(10)), culprit, it.message())
        await it.has_settled(*before)
        async with asyncio.timeout(20):
            while not any(isinstance(each, Held) and each.message.message_id == culprit.id for each in it.seen):
                await it.connection.call(it.channel.queue_declare, queue, passive=True)  # lets the loop run
        assert await it.ready(queue) <= 2 * len(before)

        await it.declare(culprit.route.exchange)
        await it.has_settled(lost, after)

    play(isolated, scenario)


def test_a_message_that_the_broker_cannot_read_is_refused_and_the_others_go_through_once(
    isolated: Isolated, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Connection, "frame_max", 1 << 20)  # more than RabbitMQ takes

    async def scenario(it: Bench) -> None:
        queue = await it.queue()
        culprit = structs.replace(it.message(), headers={"x": "y" * 200_000})
        (*before, bad, after) = await it.publish(*(it.message() for _ in range(10)), culprit, it.message())
        await it.has_settled(*before, after)
        await it.was_rejected(bad)
        assert [(each.reason, "501: FRAME_ERROR" in each.detail) for each in it.rejections] == [("refused", True)]
        assert any(isinstance(each, BrokerLost) and culprit.id in each.problem.what for each in it.seen)
        assert await it.ready(queue) <= 2 * len(before) + 1

    play(isolated, scenario)


def test_a_message_that_the_broker_fails_at_is_named_and_holds_up_what_is_behind_it(
    isolated: Isolated, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("math.isfinite", lambda _: True)  # RabbitMQ answers 541 to such a double

    async def scenario(it: Bench) -> None:
        await it.queue()
        culprit = structs.replace(it.message(), headers={"x": float("inf")})
        (before, bad, after) = await it.publish(it.message(), culprit, it.message())
        await it.has_settled(before)
        async with asyncio.timeout(20):
            while not any(isinstance(each, Held) and each.message.message_id == culprit.id for each in it.seen):
                await it.connection.call(it.channel.basic_qos)  # lets the loop run
        assert {bad, after}.isdisjoint(it.settled)
        assert it.rejections == []

    play(isolated, scenario)
