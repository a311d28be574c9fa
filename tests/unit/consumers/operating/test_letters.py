"""What a dead letter is; and RabbitMQ 4 drops one that was put back too often: the commands renew it before."""

import asyncio
from dataclasses import replace
from typing import Any, cast

import pika

from consumers.operating.letters import judge, judge_events, take
from consumers.settings import ConsumerSettings
from outboxkit.amqp.consuming.dead_letters import DeadLetters, Letter


class Queue:
    """Letters that were put back so many times."""

    def __init__(self, *deliveries: int, drops: bool) -> None:
        self.drops_redelivered = drops
        self._left = [
            Letter(tag, f"m{tag}", {}, None, None, None, count, count >= 15, pika.BasicProperties(), b"")
            for tag, count in enumerate(deliveries, start=1)
        ]

    async def take(self) -> Letter | None:
        return self._left.pop(0) if self._left else None

    async def renew(self, letter: Letter) -> None:
        self._left.append(replace(letter, deliveries=0, worn=False))


def taken(queue: Queue, limit: int) -> list[int]:
    return [each.tag for each in asyncio.run(take(cast("DeadLetters", queue), limit))]


def test_as_many_are_taken_as_there_are_up_to_the_limit() -> None:
    assert taken(Queue(0, 1, 2, drops=True), 10) == [1, 2, 3]
    assert taken(Queue(0, 1, 2, drops=True), 2) == [1, 2]
    assert taken(Queue(drops=True), 2) == []


def test_what_would_be_dropped_soon_is_renewed_and_comes_last() -> None:
    assert taken(Queue(14, drops=True), 10) == [1]
    assert taken(Queue(999, drops=False), 10) == [1]
    assert taken(Queue(0, 15, 1, drops=True), 10) == [1, 3, 2]
    assert taken(Queue(15, 1, drops=True), 1) == [2]


def letter(headers: dict[str, Any], body: bytes = b"{}") -> Letter:
    properties = pika.BasicProperties(headers=headers, message_id="m", type="paid", timestamp=1_700_000_000)
    return Letter(1, "m", headers, "rejected", None, "order.paid", 0, False, properties, body)


EVENT: dict[str, Any] = {"aggregate_type": "order", "aggregate_id": "42", "aggregate_version": 7}


def test_of_the_dead_letters_of_events_each_is_an_event_or_undecodable() -> None:
    found = judge_events([letter(EVENT), letter({}), letter(EVENT, b"no JSON")])
    assert [(each.state, each.about.partition("(")[0]) for each in found] == [
        ("event", "order.paid: order 42, version 7"),
        ("undecodable", "header aggregate_type is None, not a text"),
        ("undecodable", "its body is not JSON "),
    ]


def test_of_the_dead_letters_of_tasks_an_event_is_not_taken_for_something_that_may_be_removed() -> None:
    asks_no_database = cast("ConsumerSettings", None)
    alphanumeric: dict[str, Any] = {name.replace("_", ""): value for name, value in EVENT.items()}
    others = [letter(EVENT), letter(alphanumeric), letter({"aggregate_type": "task"}), letter({})]
    assert [each.state for each in judge(asks_no_database, others)] == ["event", "event", "undecodable", "undecodable"]
