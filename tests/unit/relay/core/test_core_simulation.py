"""The relay's pure core between a fake slot and a fake broker: thousands of schedules, every one of them hostile.

The slot forgets what is below the flushed position and sends the rest again after a crash. The broker takes, nacks or
returns messages, answers out of order and for many at once, and may vanish at any moment. Nothing may be lost in any
order of events; hypothesis prints the shortest schedule that breaks the promise, and the seed.
"""

from dataclasses import dataclass, field
from itertools import count
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from msgspec import structs

from relay.core.event import Boundary, Message, OutboxEvent, Route
from relay.core.ledger import Ledger
from relay.core.ports import Parcel
from relay.core.position import Lsn
from relay.publishing.outstanding import Item
from relay.publishing.pipeline import Pipeline
from tests.support.examples import EVENT


@dataclass
class Slot:
    """Transactions in commit order, each with its end LSN; sends from the flushed position on."""

    transactions: list[tuple[Lsn, list[str]]] = field(default_factory=list)
    flushed: Lsn = field(default_factory=Lsn)

    def stream(self) -> list[str | Boundary[Lsn]]:
        items: list[str | Boundary[Lsn]] = []
        for end, events in self.transactions:
            if end > self.flushed:
                items += [*events, Boundary(end)]
        return items


@dataclass
class Broker:
    """One channel: what was published on it and not answered for; and everything that it has ever taken."""

    tags: Any = field(default_factory=lambda: count(1))
    waiting: dict[int, Item] = field(default_factory=dict)
    taken: list[str] = field(default_factory=list)
    arrived: list[str] = field(default_factory=list)
    """In the order in which queues see them: confirms come in any order, but one channel's messages do not overtake."""

    def publish(self, items: list[Item]) -> None:
        for item in items:
            self.waiting[next(self.tags)] = item
            self.arrived.append(item.parcel.event.id)


class Relay(RuleBasedStateMachine):
    """The core, wired as the engine wires it, and the world around it."""

    @initialize(window=st.integers(1, 6))
    def start(self, window: int) -> None:
        self.window = window
        self.slot, self.names, self.lsn = Slot(), count(1), 0
        self.parked: list[str] = []
        self.disorderly = False
        self.taken: list[str] = []
        self.arrived: list[str] = []
        self._restart()

    def _restart(self) -> None:
        self.ledger: Ledger[Lsn] = Ledger()
        self.pipeline = Pipeline(window=self.window, window_bytes=1 << 20)
        self.broker = Broker(taken=self.taken, arrived=self.arrived)
        self.unread = self.slot.stream()

    def _event(self, name: str) -> OutboxEvent:
        return structs.replace(EVENT, id=name, aggregate_id=str(int(name) % 3))

    # The world.

    @rule(size=st.integers(0, 4), gap=st.integers(1, 2))
    def commit(self, size: int, gap: int) -> None:
        """End LSNs may be adjacent: the next transaction's commit record begins where this one's ends."""
        self.lsn += gap
        transaction = (Lsn(self.lsn), [str(next(self.names)) for _ in range(size)])
        self.slot.transactions.append(transaction)
        self.unread += [*transaction[1], Boundary(transaction[0])]

    @rule()
    def keepalive(self) -> None:
        """Say, between transactions, that everything up to here has been sent."""
        if not self.unread or isinstance(self.unread[-1], Boundary):
            self.unread.append(Boundary(Lsn(self.lsn)))

    @precondition(lambda self: self.broker.waiting)
    @rule(data=st.data(), multiple=st.booleans(), nack=st.booleans(), returns=st.booleans(), parks=st.booleans())
    def answer(self, data: st.DataObject, *, multiple: bool, nack: bool, returns: bool, parks: bool) -> None:
        tag = data.draw(st.sampled_from(sorted(self.broker.waiting)))
        tags = [each for each in sorted(self.broker.waiting) if each == tag or (multiple and each < tag)]
        for each in tags:
            item = self.broker.waiting.pop(each)
            if returns and not nack and each == tag:
                self.pipeline.returned(item.parcel.message.id, "NO_ROUTE")
                self.disorderly = True
            elif not nack:
                self.taken.append(item.parcel.event.id)
        self.disorderly |= nack
        answer = self.pipeline.answered(tag, multiple=multiple, nack=nack)
        for item in answer.confirmed:
            self.ledger.settle([item.parcel.stretch])
        for item, _ in answer.returned:
            if parks:
                self.pipeline.finish([item])
                self.parked.append(item.parcel.event.id)
                self.ledger.settle([item.parcel.stretch])
            else:
                self.pipeline.fail([item])
        self._report()

    @rule()
    def lose_the_channel(self) -> None:
        """Answers on their way are gone; the broker may have taken any prefix of what it was sent."""
        self.pipeline.lost()
        self.broker = Broker(taken=self.taken, arrived=self.arrived)

    @precondition(lambda self: self.broker.waiting)
    @rule(data=st.data())
    def take_without_a_confirm(self, data: st.DataObject) -> None:
        tags = sorted(self.broker.waiting)
        for tag in tags[: data.draw(st.integers(0, len(tags)))]:
            self.taken.append(self.broker.waiting[tag].parcel.event.id)
        self.lose_the_channel()

    @rule()
    def crash(self) -> None:
        self._restart()

    # The relay.

    @precondition(lambda self: self.unread and not self.pipeline.full)
    @rule(size=st.integers(1, 5))
    def read(self, size: int) -> None:
        for item in self.unread[:size]:
            if isinstance(item, Boundary):
                self.ledger.boundary(item)
            else:
                event = self._event(item)
                message = Message(item, Route("outbox", "a.b", "a", "b"), "1", 1, 1, 0, {}, b"{}")
                self.pipeline.take([(Parcel(self.ledger.enter(), event, message), b"frames")])
        del self.unread[:size]
        self.broker.publish(self.pipeline.send())
        self._report()

    @precondition(lambda self: self.pipeline.stuck)
    @rule()
    def retry(self) -> None:
        self.pipeline.retry()
        self.broker.publish(self.pipeline.send())

    @rule()
    def send(self) -> None:
        self.broker.publish(self.pipeline.send())

    def _report(self) -> None:
        if self.ledger.position is not None:
            self.slot.flushed = max(self.slot.flushed, self.ledger.position)

    # The promises.

    @invariant()
    def what_the_slot_has_forgotten_was_taken_or_parked(self) -> None:
        if not hasattr(self, "slot"):
            return
        settled = {*self.taken, *self.parked}
        for end, events in self.slot.transactions:
            assert end > self.slot.flushed or settled.issuperset(events)

    @invariant()
    def the_window_is_kept(self) -> None:
        if hasattr(self, "pipeline"):
            assert self.pipeline.outstanding <= self.window
            assert self.pipeline.unfinished <= self.window + self.window // 2 + 4  # the largest transaction behind it
            sent = [item.order for item in self.broker.waiting.values()]
            assert not sent or max(sent) - min(sent) < self.window

    def teardown(self) -> None:
        """Heal the world: everything must come through, and in order wherever nothing was refused."""
        if not hasattr(self, "slot"):
            return
        self.pipeline.lost()
        self.broker = Broker(taken=self.taken, arrived=self.arrived)
        for _ in range(10_000):
            if not self.unread and not self.pipeline.unfinished:
                break
            if self.unread and not self.pipeline.full:
                self.read(5)
            self.send()
            if self.broker.waiting:
                last = max(self.broker.waiting)
                self.taken += [item.parcel.event.id for item in self.broker.waiting.values()]
                self.broker.waiting.clear()
                for item in self.pipeline.answered(last, multiple=True, nack=False).confirmed:
                    self.ledger.settle([item.parcel.stretch])
                self._report()
        names = [name for _, events in self.slot.transactions for name in events]
        assert {*self.taken, *self.parked} == set(names)
        assert self.slot.flushed == (self.slot.transactions[-1][0] if self.slot.transactions else 0)
        if not self.disorderly:
            for aggregate in range(3):
                firsts = [name for name in dict.fromkeys(self.arrived) if int(name) % 3 == aggregate]
                assert firsts == [name for name in names if int(name) % 3 == aggregate]


TestRelay = Relay.TestCase
TestRelay.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
