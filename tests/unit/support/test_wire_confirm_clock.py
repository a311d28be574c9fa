"""The clock of confirms: it counts messages on all connections, and measures the time between two confirms."""

import pytest

from outboxkit.errors import Problem
from tests.support.wire.confirm_clock import ConfirmClock
from tests.unit.support import wire_bytes as said


class Conversation:
    """Two connections to two nodes, and a time that the test sets."""

    def __init__(self) -> None:
        self.time = 100.0
        self.clock = ConfirmClock(now=lambda: self.time)
        for connection in (0, 1):
            self.clock(connection, True, said.PROTOCOL_HEADER + said.opened())

    def publish(self, connection: int, *messages: str) -> None:
        self.clock(connection, True, b"".join(map(said.publish, messages)))

    def answer(self, connection: int, answer: bytes, *, at: float) -> None:
        self.time = at
        self.clock(connection, False, answer)


def test_each_confirmed_message_counts_and_no_other() -> None:
    it = Conversation()
    it.publish(0, "a", "b", "c", "d")
    it.publish(1, "d", "e")
    it.answer(0, said.ack(2, multiple=True), at=101)
    it.answer(0, said.nack(3), at=102)
    it.answer(1, said.ack(1), at=103)
    it.answer(1, said.returned("e") + said.ack(2), at=104)
    assert it.clock.count == 3


def test_the_longest_time_without_a_confirm_is_measured_over_all_nodes() -> None:
    it = Conversation()
    it.publish(0, "a", "b")
    it.publish(1, "c", "d")
    it.answer(0, said.ack(1), at=150)  # before the beginning
    it.clock.begin()
    it.answer(1, said.ack(1), at=152)
    it.answer(0, said.nack(2), at=156)  # no confirm
    it.answer(1, said.ack(2), at=159)
    assert it.clock.longest == 7
    it.time = 160
    assert it.clock.longest == 7
    it.time = 170
    assert it.clock.longest == 11  # it lasts


def test_who_waits_for_confirms_is_told_when_none_come() -> None:
    with pytest.raises(Problem, match="1 more messages are confirmed"):
        ConfirmClock().grows(1, seconds=0)
