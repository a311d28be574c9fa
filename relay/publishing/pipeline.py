"""The line of messages, from being taken to having an outcome. Pure: it knows neither connection nor clock.

        take() ──► line ──► send() ──► outstanding ──► answered() ──► confirmed            gone
                    ▲                     │                       ├─► returned           the caller decides
                    │                     │ lost()                └─► nacked ─► failed
                    └─────────────────────┴──────────── retry() ◄───────────────┘

Messages leave in the order in which they were taken. While something has failed, nothing more is sent until it goes
again, so that a failure is overtaken by what was on the wire already and by nothing else.
"""

from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

from relay.core.event import Message
from relay.core.ports import Parcel
from relay.publishing.outstanding import Item, Outstanding


class Answer(NamedTuple):
    """What a confirm or a nack meant."""

    confirmed: list[Item]
    returned: list[tuple[Item, str]]
    """Given back by the broker, with its words: taken by no queue. Not settled until the caller says how."""
    nacked: list[Item]
    """Refused by the broker: they go again."""


class Pipeline:
    """Holds every message without an outcome.

    The broker is given at most `window` of them, and none that is `window` or more behind the oldest without an
    outcome: that is what a crash would publish again. Half as many wait in the line, ready for when it answers.
    `window_bytes` bounds all of them.
    """

    def __init__(self, *, window: int, window_bytes: int) -> None:
        self._window = window
        self._window_bytes = window_bytes
        self._line: deque[Item] = deque()
        self._failed: list[Item] = []
        self._outstanding = Outstanding()
        self._order = 0
        self._size = 0
        self.unsettled = 0
        """How many messages have no outcome."""

    @property
    def full(self) -> bool:
        """Whether enough waits in the line, or too much is held."""
        return len(self._line) > self._window // 2 or self._size >= self._window_bytes

    @property
    def outstanding(self) -> int:
        """How many messages the broker has been given and has not answered for."""
        return len(self._outstanding)

    @property
    def ready(self) -> bool:
        """Whether an eighth of the window is free and something waits: one write is to carry many messages."""
        return bool(self._line) and len(self._outstanding) <= self._window - self._window // 8

    @property
    def stuck(self) -> bool:
        """Whether there is something to retry, and everything else has been answered for."""
        return bool(self._failed) and not self._outstanding

    def take(self, messages: Sequence[tuple[Parcel, bytes]]) -> None:
        """Put messages, each with its frames, at the end of the line."""
        self._line += [Item(order, parcel, frames) for order, (parcel, frames) in enumerate(messages, self._order + 1)]
        self._order += len(messages)
        self.unsettled += len(messages)
        self._size += sum([len(frames) for _, frames in messages])

    def send(self, at_most: int | None = None) -> list[Item]:
        """Return what is to be sent now, in order and as far as the window goes; it is outstanding from here on.

        `at_most` is a narrower window for this time.
        """
        if self._failed or not self._line:
            return []
        room = (self._window if at_most is None else at_most) - len(self._outstanding)
        end = (self._outstanding.first() or self._line[0]).order + self._window
        count = min(room, len(self._line))
        while count > 0 and self._line[count - 1].order >= end:
            count -= 1
        items = [self._line.popleft() for _ in range(count)]
        self._outstanding.published(items)
        return items

    def returned(self, message_id: str, why: str) -> None:
        """Note that the broker gave a message back; its confirm is still to come."""
        self._outstanding.returned(message_id, why)

    def answered(self, tag: int, *, multiple: bool, nack: bool) -> Answer:
        """Sort what the broker's answer is for. What it confirmed is settled; what it nacked goes again."""
        items = self._outstanding.answered(tag, multiple=multiple)
        if nack:
            for item in items:
                self._outstanding.why_returned(item)
            self._failed += items
            return Answer([], [], items)
        returned: list[tuple[Item, str]] = []
        if self._outstanding.some_returned:
            whys = [(item, self._outstanding.why_returned(item)) for item in items]
            returned = [(item, why) for item, why in whys if why is not None]
            items = [item for item, why in whys if why is None]
        self.settle(items)
        return Answer(items, returned, [])

    def settle(self, items: list[Item]) -> None:
        """Note that `items` have an outcome."""
        self.unsettled -= len(items)
        self._size -= sum([len(item.frames) for item in items])

    def drop(self) -> None:
        """Note that everything outstanding has an outcome."""
        self.settle(self._outstanding.answered(0, multiple=True))

    def fail(self, items: list[Item]) -> None:
        """Note that `items` are to go again."""
        self._failed += items

    def retry(self) -> None:
        """Put what failed back to its place in the line."""
        self._back(self._failed)

    def lost(self) -> None:
        """Put everything back to its place in the line: the channel is gone, and its answers with it."""
        self._back([*self._failed, *self._outstanding.rest()])
        self._outstanding = Outstanding()

    def encode_again(self, encode: Callable[[Message], bytes]) -> None:
        """Encode what waits in the line for another channel; call it while nothing is outstanding."""
        self._line = deque([Item(item.order, item.parcel, encode(item.parcel.message)) for item in self._line])
        self._size = sum([len(item.frames) for item in self._line])

    def forget(self) -> None:
        """Drop everything."""
        self._line.clear()
        self._failed = []
        self._outstanding = Outstanding()
        self.unsettled = self._size = 0

    def first(self) -> Item | None:
        """Return the oldest message that the broker was given and has not answered for."""
        return self._outstanding.first()

    def _back(self, items: list[Item]) -> None:
        self._line.extendleft(sorted(items, key=lambda item: item.order, reverse=True))
        self._failed = []
