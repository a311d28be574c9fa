"""The messages of one channel that the broker has not answered for. Pure.

Delivery tags count from 1 on each channel, and are void when it is closed. Confirms come out of order; one may answer
for all tags up to its own. A return comes before the confirm of the same message and has no tag; it is matched by
message id (https://www.rabbitmq.com/docs/confirms, https://www.rabbitmq.com/docs/publishers#unroutable). So no two
messages here have the same id: a return of one would be taken for a return of the other.
"""

from collections import deque
from itertools import islice

from msgspec import Struct

from outboxkit.amqp.errors import ProtocolViolated
from relay.core.observations import Named
from relay.core.ports import Parcel


class Item(Struct, frozen=True, gc=False):
    """A message without an outcome, with its place in the order of the stream."""

    order: int
    parcel: Parcel
    frames: bytes
    """The message as it is sent, each time."""

    def named(self) -> Named:
        """Return what logs call the message."""
        message = self.parcel.message
        return Named(message.id, message.route.exchange, message.route.routing_key)


class Outstanding:
    """The unanswered messages of one channel."""

    def __init__(self) -> None:
        self._items: deque[Item | None] = deque()
        """The messages from the oldest unanswered one on; None for an answered one."""
        self._first_tag = 1
        self._unanswered = 0
        self._ids: set[str] = set()
        self._returned: dict[str, str] = {}

    def __len__(self) -> int:
        return self._unanswered

    def publish(self, waiting: deque[Item], at_most: int) -> list[Item]:
        """Move the first `at_most` of `waiting` here, and return them: they are sent on the channel in this order.

        They are fewer if a message has an id that is here already: it waits, and so does everything behind it.
        """
        ids = [item.parcel.message.id for item in islice(waiting, at_most)]
        new = set(ids)
        if len(new) < len(ids) or not self._ids.isdisjoint(new):
            ids = self._until_repeated(ids)
        items = [waiting.popleft() for _ in ids]
        self._ids.update(ids)
        self._items += items
        self._unanswered += len(items)
        return items

    def _until_repeated(self, ids: list[str]) -> list[str]:
        seen = set(self._ids)
        for place, each in enumerate(ids):
            if each in seen:
                return ids[:place]
            seen.add(each)
        return ids

    def returned(self, message_id: str, why: str) -> None:
        """Note that the broker returned the message: its confirm, still to come, does not count.

        Raises ProtocolViolated for a message that is not outstanding.
        """
        if message_id not in self._ids:
            raise _not_outstanding(f"returned message {message_id!r}")
        self._returned[message_id] = why

    def answered(self, tag: int, *, multiple: bool) -> list[Item]:
        """Remove and return, in order, the messages that a confirm or a nack with this `tag` answers for.

        Raises ProtocolViolated for a tag that is not outstanding.
        """
        place = tag - self._first_tag
        if multiple:
            upto = len(self._items) if tag == 0 else place + 1
            if upto > len(self._items):
                raise _not_outstanding(f"answered for delivery tag {tag}")
            popped = [self._items.popleft() for _ in range(upto)]
            taken = [item for item in popped if item is not None]
            self._first_tag += max(0, upto)
        else:
            item = self._items[place] if 0 <= place < len(self._items) else None
            if item is None:
                raise _not_outstanding(f"answered for delivery tag {tag}")
            self._items[place] = None
            taken = [item]
        while self._items and self._items[0] is None:
            self._items.popleft()
            self._first_tag += 1
        self._unanswered -= len(taken)
        self._ids.difference_update([item.parcel.message.id for item in taken])
        return taken

    @property
    def some_returned(self) -> bool:
        """Whether a message was returned whose confirm has not come yet."""
        return bool(self._returned)

    def why_returned(self, item: Item) -> str | None:
        """Return, once, the broker's reason for returning the message; None if it was not returned."""
        return self._returned.pop(item.parcel.message.id, None)

    def first(self) -> Item | None:
        """Return the oldest unanswered message."""
        return self._items[0] if self._items else None

    def rest(self) -> list[Item]:
        """Return all unanswered messages in order: they are in doubt when the channel is lost."""
        return [item for item in self._items if item is not None]


def _not_outstanding(what: str) -> ProtocolViolated:
    return ProtocolViolated(
        f"RabbitMQ {what}, which is not outstanding on this channel",
        remedy="start the relay again: it publishes again what is unconfirmed. This is a bug of RabbitMQ, of a proxy "
        "before it, or of the relay: report it",
    )
