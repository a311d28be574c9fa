"""Lanes in every order of arrival: one at a time, in their order, and what is obsolete goes."""

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from consumers.events.applying.work import Work
from consumers.events.declaring.event import Message, decode
from consumers.events.declaring.registry import Handler
from consumers.events.running.lanes import Lane
from consumers.events.running.policy import MOST_SECONDS, Policy
from outboxkit.amqp.consuming.deliveries import Delivery

HANDLER = Handler("h", ("#",), print)


def work(version: int, generation: int = 1) -> Work:
    headers = {"aggregate_type": "order", "aggregate_id": "1", "aggregate_version": version}
    message = Message("id", "t", "order.t", None, headers, b"{}")
    delivery = Delivery(1, "id", headers, b"{}", False, "order.t", generation)
    return Work(HANDLER, decode(message), message, 0.0, delivery)


def taken(lane: Lane) -> list[int]:
    """Take all that is in a lane."""
    versions = []
    while (first := lane.first()) is not None:
        versions.append(first.event.aggregate_version)
        lane.done(first)
    return versions


@given(st.lists(st.integers(1, 9)))
def test_a_lane_is_in_the_order_of_arrival_or_of_versions(versions: list[int]) -> None:
    by_arrival, by_version = Lane(by_version=False), Lane(by_version=True)
    for version in versions:
        by_arrival.add(work(version))
        by_version.add(work(version))
    assert taken(by_arrival) == versions
    assert taken(by_version) == sorted(versions)


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(1, 3)), min_size=1), st.data())
def test_what_came_on_a_lost_channel_is_dropped_except_for_what_is_being_applied(
    arrived: list[tuple[int, int]], data: st.DataObject
) -> None:
    lane = Lane(by_version=False)
    works = [work(version, generation) for version, generation in arrived]
    for each in works:
        lane.add(each)
    lane.busy = data.draw(st.none() | st.just(works[0]))
    lane.drop(lambda each: each.delivery is not None and each.delivery.generation != 3)
    kept = [each for each in works if each is lane.busy or (each.delivery and each.delivery.generation == 3)]
    assert len(lane) == len(kept)
    assert taken(lane) == [each.event.aggregate_version for each in kept]


def test_a_pause_for_more_ends_when_more_comes_and_another_only_when_it_is_woken() -> None:
    async def play() -> None:
        lane = Lane(by_version=True)
        loop = asyncio.get_running_loop()
        waits_for_more = asyncio.create_task(lane.pause(60, for_more=True))
        loop.call_later(0.01, lane.add, work(1))
        await asyncio.wait_for(waits_for_more, 10)
        backs_off = asyncio.create_task(lane.pause(60))
        await asyncio.sleep(0)
        lane.add(work(2))
        await asyncio.sleep(0)
        assert not backs_off.done()
        lane.wake()
        await asyncio.wait_for(backs_off, 10)
        await asyncio.wait_for(lane.pause(0.01), 10)

    asyncio.run(play())


@given(st.integers(1, 100), st.floats(0.1, 60), st.floats(0.1, 600))
def test_an_event_is_never_tried_for_longer_than_the_policy_says(attempts: int, first: float, cap: float) -> None:
    policy = Policy(attempts, first, cap)
    backoff = policy.backoff()
    assert sum(backoff.next_delay() for _ in range(attempts - 1)) <= policy.longest + 1e-6


def test_the_defaults_end_long_before_rabbitmq_takes_the_delivery_back() -> None:
    assert Policy().longest == 0.5 + 1 + 2 + 4 + 8
    assert Policy().longest < MOST_SECONDS
