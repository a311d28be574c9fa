"""The relay's pure core between fake slots and a fake broker: thousands of schedules, every one of them hostile.

A slot forgets what is below the flushed position and sends the rest again after a crash. The broker takes, nacks or
returns messages, and answers out of order and for many at once. A connection may be given up at any moment: the broker
still gets what is on its way, and its answers still come, while the next connection is in use. Two relays stream the
same outbox, and several events may have the same id. Nothing may be lost or taken for another in any order of events;
hypothesis prints the shortest schedule that breaks the promise, and the seed.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from typing import NamedTuple

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from msgspec import structs

from relay.core.event import Boundary, Message, OutboxEvent, Route
from relay.core.ledger import Ledger
from relay.core.ports import Parcel
from relay.core.position import Lsn
from relay.publishing.answers import Answers
from relay.publishing.outstanding import Item
from relay.publishing.pipeline import Pipeline
from tests.support.examples import EVENT

AGGREGATES = 3
ROUTE = Route("outbox", "a.b", "a", "b")


@dataclass
class Slot:
    """Transactions in commit order, each with its end LSN; sends from the flushed position on."""

    transactions: list[tuple[Lsn, list[OutboxEvent]]]
    flushed: Lsn = field(default_factory=Lsn)

    def stream(self) -> list[OutboxEvent | Boundary[Lsn]]:
        items: list[OutboxEvent | Boundary[Lsn]] = []
        for end, events in self.transactions:
            if end > self.flushed:
                items += [*events, Boundary(end)]
        return items


class Return(NamedTuple):
    message_id: str


class Confirm(NamedTuple):
    tag: int
    multiple: bool
    nack: bool


class Channel:
    """The broker's side of one channel, and what is on its way in both directions."""

    def __init__(self) -> None:
        self.sent: deque[Item] = deque()
        self.waiting: dict[int, Item] = {}
        """Received, and not answered for."""
        self.answers: deque[Return | Confirm] = deque()
        self._tags = count(1)

    def receive(self, most: int, arrived: list[int]) -> None:
        for _ in range(min(most, len(self.sent))):
            item = self.sent.popleft()
            self.waiting[next(self._tags)] = item
            arrived.append(item.parcel.event.seq)


class Relay:
    """The core, wired as publisher and engine wire it, its slot, and all that the broker has of it.

    Events are known by their `seq`, since several may have the same id.
    """

    def __init__(self, slot: Slot, window: int) -> None:
        self.slot = slot
        self.window = window
        self.parks = False
        """What becomes of a returned message: parked, or sent again."""
        self.parked: list[int] = []
        self.confirmed: list[int] = []
        self.taken: list[int] = []
        self.returned: list[int] = []
        self.arrived: list[int] = []
        """In the order in which queues see them: confirms come in any order, a channel's messages do not overtake."""
        self.disorderly = False
        self.restart()

    def restart(self) -> None:
        """Begin as a new process; nobody reads the answers on the old channels."""
        self.ledger: Ledger[Lsn] = Ledger()
        self.pipeline = Pipeline(window=self.window, window_bytes=1 << 20)
        self.answers: Answers[Channel] = Answers(
            self._on_answer, self.pipeline.returned, on_heard=lambda: None, on_error=_bug
        )
        self.channel = self.answers.channel = Channel()
        self.channels = [self.channel]
        """With those that were given up."""
        self.unread = self.slot.stream()

    def read(self, size: int) -> None:
        if self.pipeline.full:
            return
        for item in self.unread[:size]:
            if isinstance(item, Boundary):
                self.ledger.boundary(item)
            else:
                message = Message(item.id, ROUTE, "1", 1, item.seq, 0, {}, b"{}")
                self.pipeline.take([(Parcel(self.ledger.enter(), item, message), b"frames")])
        del self.unread[:size]
        self.send()
        self._report()

    def send(self) -> None:
        self.channel.sent += self.pipeline.send()

    def give_up(self) -> None:
        """Open the next channel; the old one lives on."""
        self.pipeline.lost()
        self.channel = self.answers.channel = Channel()
        self.channels.append(self.channel)
        self.send()

    def hear(self, channel: Channel) -> None:
        """Read the next answer that came on `channel`."""
        if not channel.answers:
            return
        match channel.answers.popleft():
            case Return(message_id):
                self.answers.returned(channel, message_id, "NO_ROUTE")
            case Confirm(tag, multiple, nack):
                self.answers.answered(channel, tag, multiple=multiple, nack=nack)

    def _on_answer(self, tag: int, *, multiple: bool, nack: bool) -> None:
        answer = self.pipeline.answered(tag, multiple=multiple, nack=nack)
        self._settle(answer.confirmed, self.confirmed)
        returned = [item for item, _ in answer.returned]
        if self.parks:
            self.pipeline.finish(returned)
            self._settle(returned, self.parked)
        else:
            self.pipeline.fail(returned)
        if self.pipeline.stuck:
            self.pipeline.retry()
        self.send()
        self._report()

    def _settle(self, items: list[Item], outcome: list[int]) -> None:
        outcome += [item.parcel.event.seq for item in items]
        self.ledger.settle([item.parcel.stretch for item in items])

    def _report(self) -> None:
        if self.ledger.position is not None:
            self.slot.flushed = max(self.slot.flushed, self.ledger.position)


def _bug(error: Exception) -> None:
    raise error


class World(RuleBasedStateMachine):
    """Two relays, and what happens to them."""

    @initialize(windows=st.tuples(st.integers(1, 6), st.integers(1, 6)))
    def start(self, windows: tuple[int, int]) -> None:
        self.transactions: list[tuple[Lsn, list[OutboxEvent]]] = []
        self.lsn = 0
        self.events: list[OutboxEvent] = []
        self.relays = [Relay(Slot(self.transactions), window) for window in windows]

    def _event(self, message_id: int) -> OutboxEvent:
        """Return a new event, with the id of one of the last if `message_id` is not 0."""
        seq = len(self.events) + 1
        known = [event.id for event in self.events[-message_id:]] if message_id else []
        event = structs.replace(EVENT, seq=seq, id=(known or [str(seq)])[0], aggregate_id=str(seq % AGGREGATES))
        self.events.append(event)
        return event

    # The world.

    @rule(ids=st.lists(st.integers(0, 3), max_size=4), gap=st.integers(1, 2))
    def commit(self, ids: list[int], gap: int) -> None:
        """End LSNs may be adjacent: the next transaction's commit record begins where this one's ends."""
        self.lsn += gap
        end, events = Lsn(self.lsn), [self._event(each) for each in ids]
        self.transactions.append((end, events))
        for relay in self.relays:
            relay.unread += [*events, Boundary(end)]

    @rule()
    def keepalive(self) -> None:
        """Say, between transactions, that everything up to here has been sent."""
        for relay in self.relays:
            if not relay.unread or isinstance(relay.unread[-1], Boundary):
                relay.unread.append(Boundary(Lsn(self.lsn)))

    @precondition(lambda self: self._channels(lambda each: each.sent or each.waiting))
    @rule(data=st.data())
    def answer(self, data: st.DataObject) -> None:
        """Let the broker receive what is on its way on a channel, maybe on one that was given up, and answer."""
        self._answer(data, *data.draw(st.sampled_from(self._channels(lambda each: each.sent or each.waiting))))

    def _answer(self, data: st.DataObject, relay: Relay, channel: Channel) -> None:
        channel.receive(data.draw(st.integers(1, 5)), relay.arrived)
        tag = data.draw(st.sampled_from(sorted(channel.waiting)))
        multiple, nack = data.draw(st.booleans()), data.draw(st.booleans())
        for each in [each for each in sorted(channel.waiting) if each == tag or (multiple and each < tag)]:
            item = channel.waiting.pop(each)
            if nack:
                relay.disorderly = True
            elif data.draw(st.booleans()):
                relay.taken.append(item.parcel.event.seq)
            else:
                relay.disorderly = True
                relay.returned.append(item.parcel.event.seq)
                channel.answers.append(Return(item.parcel.message.id))
        channel.answers.append(Confirm(tag, multiple, nack))

    @precondition(lambda self: self._channels(lambda each: each.answers))
    @rule(data=st.data(), most=st.integers(1, 5), parks=st.booleans())
    def hear(self, data: st.DataObject, most: int, *, parks: bool) -> None:
        """Let answers arrive, maybe those of a channel that was given up."""
        relay, channel = data.draw(st.sampled_from(self._channels(lambda each: each.answers)))
        relay.parks = parks
        for _ in range(most):
            relay.hear(channel)

    @precondition(lambda self: self._channels(lambda each: each.sent or each.waiting))
    @rule(data=st.data())
    def give_up(self, data: st.DataObject) -> None:
        """Let a relay give up its connection, maybe while answers are on their way to it."""
        relay, channel = data.draw(st.sampled_from(self._channels(lambda each: each.sent or each.waiting)))
        if data.draw(st.booleans()):
            self._answer(data, relay, channel)
        relay.give_up()

    @precondition(lambda self: any(relay.pipeline.unfinished > 1 for relay in self._relays()))
    @rule(data=st.data())
    def crash(self, data: st.DataObject) -> None:
        data.draw(st.sampled_from([relay for relay in self.relays if relay.pipeline.unfinished > 1])).restart()

    @precondition(lambda self: any(relay.unread for relay in self._relays()))
    @rule(data=st.data(), size=st.integers(1, 5))
    def read(self, data: st.DataObject, size: int) -> None:
        data.draw(st.sampled_from([relay for relay in self.relays if relay.unread])).read(size)

    def _channels(self, condition: Callable[[Channel], object]) -> list[tuple[Relay, Channel]]:
        """Return which of the last two channels of each relay meet `condition`."""
        pairs = [(relay, channel) for relay in self._relays() for channel in relay.channels[-2:]]
        return [(relay, channel) for relay, channel in pairs if condition(channel)]

    # The promises.

    @invariant()
    def what_a_slot_has_forgotten_was_taken_or_parked(self) -> None:
        for relay in self._relays():
            settled = {*relay.taken, *relay.parked}
            for end, events in self.transactions:
                assert end > relay.slot.flushed or settled.issuperset(event.seq for event in events)

    @invariant()
    def no_message_is_taken_for_another(self) -> None:
        for relay in self._relays():
            assert set(relay.confirmed) <= set(relay.taken)
            assert set(relay.parked) <= set(relay.returned)

    @invariant()
    def the_window_is_kept_and_no_two_messages_in_it_have_the_same_id(self) -> None:
        for relay in self._relays():
            assert relay.pipeline.outstanding <= relay.window
            assert relay.pipeline.unfinished <= relay.window + relay.window // 2 + 4  # the largest transaction behind
            sent = [*relay.channel.sent, *relay.channel.waiting.values()]
            orders, ids = [item.order for item in sent], [item.parcel.message.id for item in sent]
            assert not sent or max(orders) - min(orders) < relay.window
            assert len(set(ids)) == len(ids)

    def _relays(self) -> list[Relay]:
        return getattr(self, "relays", [])

    def teardown(self) -> None:
        """Heal the world: everything must come through, and in order wherever nothing was refused."""
        for relay in self._relays():
            _heal(relay)
            seqs = [event.seq for event in self.events]
            assert {*relay.taken, *relay.parked} == set(seqs)
            assert relay.slot.flushed == (self.transactions[-1][0] if self.transactions else 0)
            if not relay.disorderly:
                for aggregate in range(AGGREGATES):
                    firsts = [seq for seq in dict.fromkeys(relay.arrived) if seq % AGGREGATES == aggregate]
                    assert firsts == [seq for seq in seqs if seq % AGGREGATES == aggregate]
        self.no_message_is_taken_for_another()


def _heal(relay: Relay) -> None:
    relay.give_up()
    for _ in range(10_000):
        if not relay.unread and not relay.pipeline.unfinished:
            return
        relay.read(5)
        relay.send()
        channel = relay.channel
        channel.receive(len(channel.sent), relay.arrived)
        if channel.waiting:
            relay.taken += [item.parcel.event.seq for item in channel.waiting.values()]
            channel.answers.append(Confirm(max(channel.waiting), multiple=True, nack=False))
            channel.waiting.clear()
            relay.hear(channel)
    raise AssertionError("the relay has not caught up")


TestWorld = World.TestCase
TestWorld.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
