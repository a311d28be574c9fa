"""RabbitMQ 4 drops a dead letter that was put back too often: the commands stop before."""

import asyncio
from typing import cast

import pika
import pytest

from consumers.operating.letters import take
from outboxkit.amqp.dead_letters import DeadLetters, Letter
from outboxkit.errors import Problem


class Queue:
    """Letters that were put back so many times."""

    def __init__(self, *deliveries: int, drops: bool) -> None:
        self.drops_redelivered = drops
        self._left = [
            Letter(tag, f"m{tag}", {}, None, None, count, pika.BasicProperties(), b"")
            for tag, count in enumerate(deliveries, start=1)
        ]

    async def take(self) -> Letter | None:
        return self._left.pop(0) if self._left else None


def taken(queue: Queue, limit: int) -> list[int]:
    return [each.tag for each in asyncio.run(take(cast("DeadLetters", queue), limit))]


def test_as_many_are_taken_as_there_are_up_to_the_limit() -> None:
    assert taken(Queue(0, 1, 2, drops=True), 10) == [1, 2, 3]
    assert taken(Queue(0, 1, 2, drops=True), 2) == [1, 2]
    assert taken(Queue(drops=True), 2) == []


def test_what_would_be_dropped_soon_is_put_back_no_more() -> None:
    assert taken(Queue(14, drops=True), 10) == [1]
    assert taken(Queue(999, drops=False), 10) == [1]
    with pytest.raises(Problem, match="message m2 was looked at 15 times") as raised:
        taken(Queue(0, 15, drops=True), 10)
    assert "rabbitmqctl set_policy" in raised.value.remedy
