"""The order of messages, from being taken to having an outcome. Pure: it has no connection and no clock.

        take() ──► waiting ──► send() ──► outstanding ──► answered() ──► confirmed      has its outcome
                      ▲                     │                       ├─► returned       the caller decides
                      │                     │ lost()                └─► nacked ─► failed
                      └─────────────────────┴──────────── retry() ◄───────────────┘

Messages are sent in the order in which they were taken. After a failure nothing more is sent until the failed messages
are sent again, so that only messages sent before the failure overtake them. Of two messages with one id, the second
waits until the first is answered for, and what is behind it waits too.
"""

from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

from relay.core.event import Message
from relay.core.ports import Parcel
from relay.publishing.outstanding import Item, Outstanding


class Answer(NamedTuple):
    """The messages that a confirm or a nack answers for."""

    confirmed: list[Item]
    returned: list[tuple[Item, str]]
    """Taken by no queue, with the broker's reason. The caller decides about them."""
    nacked: list[Item]
    """Refused by the broker; they are sent again."""


class Pipeline:
    """Contains every message without an outcome.

    At most `window` messages are outstanding, and none that is `window` or more places behind the oldest one: a crash
    publishes these again. Half as many wait, to be sent when the broker answers. `window_bytes` limits all of them.
    """

    def __init__(self, *, window: int, window_bytes: int) -> None:
        self._window = window
        self._window_bytes = window_bytes
        self._waiting: deque[Item] = deque()
        self._failed: list[Item] = []
        self._outstanding = Outstanding()
        self._order = 0
        self._size = 0
        self.unfinished = 0
        """How many messages have no outcome."""

    @property
    def full(self) -> bool:
        """Whether no more messages should be taken."""
        return len(self._waiting) > self._window // 2 or self._size >= self._window_bytes

    @property
    def outstanding(self) -> int:
        """How many messages were sent and not answered for."""
        return len(self._outstanding)

    @property
    def ready(self) -> bool:
        """Whether messages wait and an eighth of the window is free, so that one write carries many of them."""
        return bool(self._waiting) and len(self._outstanding) <= self._window - self._window // 8

    @property
    def stuck(self) -> bool:
        """Whether messages have failed, and all others were answered for: `retry` is next."""
        return bool(self._failed) and not self._outstanding

    def take(self, messages: Sequence[tuple[Parcel, bytes]]) -> None:
        """Take messages, each with its frames; they wait behind all others."""
        self._waiting += [
            Item(order, parcel, frames) for order, (parcel, frames) in enumerate(messages, self._order + 1)
        ]
        self._order += len(messages)
        self.unfinished += len(messages)
        self._size += sum([len(frames) for _, frames in messages])

    def send(self, at_most: int | None = None) -> list[Item]:
        """Return what is to be sent now, in order, as far as the window allows; it is outstanding from here on.

        `at_most` is a smaller window for this call.
        """
        if self._failed or not self._waiting:
            return []
        room = (self._window if at_most is None else at_most) - len(self._outstanding)
        end = (self._outstanding.first() or self._waiting[0]).order + self._window
        count = min(room, len(self._waiting))
        while count > 0 and self._waiting[count - 1].order >= end:
            count -= 1
        return self._outstanding.publish(self._waiting, max(0, count))

    def returned(self, message_id: str, why: str) -> None:
        """Note that the broker returned a message; its confirm is still to come."""
        self._outstanding.returned(message_id, why)

    def answered(self, tag: int, *, multiple: bool, nack: bool) -> Answer:
        """Return what the broker's answer is for. What it confirmed is finished; what it nacked has failed."""
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
        self.finish(items)
        return Answer(items, returned, [])

    def finish(self, items: list[Item]) -> None:
        """Note that `items` have an outcome."""
        self.unfinished -= len(items)
        self._size -= sum([len(item.frames) for item in items])

    def drop(self) -> None:
        """Note that everything outstanding has an outcome."""
        self.finish(self._outstanding.answered(0, multiple=True))

    def fail(self, items: list[Item]) -> None:
        """Note that `items` have failed: they are sent again after `retry`."""
        self._failed += items

    def retry(self) -> None:
        """Let what failed wait again, at its place."""
        self._back(self._failed)

    def lost(self) -> None:
        """Let everything wait again, at its place: the channel is lost, with all its answers."""
        self._back([*self._failed, *self._outstanding.rest()])
        self._outstanding = Outstanding()

    def encode_again(self, encode: Callable[[Message], bytes]) -> None:
        """Encode the waiting messages for another channel; call it while no others are here."""
        self._waiting = deque([Item(item.order, item.parcel, encode(item.parcel.message)) for item in self._waiting])
        self._size = sum([len(item.frames) for item in self._waiting])

    def forget(self) -> None:
        """Drop everything."""
        self._waiting.clear()
        self._failed = []
        self._outstanding = Outstanding()
        self.unfinished = self._size = 0

    def first(self) -> Item | None:
        """Return the oldest outstanding message."""
        return self._outstanding.first()

    def _back(self, items: list[Item]) -> None:
        self._waiting.extendleft(sorted(items, key=lambda item: item.order, reverse=True))
        self._failed = []
