"""Which published messages the broker has not answered for, on one channel. Pure.

Delivery tags count from 1 on each channel and die with it. Confirms come out of order and may answer for all tags up
to theirs at once; a return comes before the confirm of the same message and carries no tag, so it is matched by
message id (https://www.rabbitmq.com/docs/confirms, https://www.rabbitmq.com/docs/publishers#unroutable).
"""

from collections import deque
from collections.abc import Iterable

from msgspec import Struct

from relay.core.observations import Named
from relay.core.ports import Parcel


class Item(Struct, frozen=True, gc=False):
    """A message on its way, with its place in the order of the stream."""

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
        """From the oldest that is not answered for; None for one that is."""
        self._first_tag = 1
        self._unanswered = 0
        self._returned: dict[str, str] = {}

    def __len__(self) -> int:
        return self._unanswered

    def published(self, items: Iterable[Item]) -> None:
        """Note that `items` were given to the channel, in this order."""
        before = len(self._items)
        self._items.extend(items)
        self._unanswered += len(self._items) - before

    def returned(self, message_id: str, why: str) -> None:
        """Note that the broker gave the message back: its confirm is still to come and will not count."""
        self._returned[message_id] = why

    def answered(self, tag: int, *, multiple: bool) -> list[Item]:
        """Take out and return, in order, the messages that a confirm or a nack with this `tag` answers for.

        Raises ValueError for a tag that is not outstanding, which no broker sends.
        """
        place = tag - self._first_tag
        if multiple:
            upto = len(self._items) if tag == 0 else place + 1
            if upto > len(self._items):
                raise ValueError(f"delivery tag {tag} is not outstanding")
            popped = [self._items.popleft() for _ in range(upto)]
            taken = [item for item in popped if item is not None]
            self._first_tag += max(0, upto)
        else:
            item = self._items[place] if 0 <= place < len(self._items) else None
            if item is None:
                raise ValueError(f"delivery tag {tag} is not outstanding")
            self._items[place] = None
            taken = [item]
        while self._items and self._items[0] is None:
            self._items.popleft()
            self._first_tag += 1
        self._unanswered -= len(taken)
        return taken

    @property
    def some_returned(self) -> bool:
        """Whether the broker gave any message back whose confirm has not come."""
        return bool(self._returned)

    def why_returned(self, item: Item) -> str | None:
        """Return, once, the broker's words for giving the message back; None if it did not."""
        return self._returned.pop(item.parcel.message.id, None)

    def first(self) -> Item | None:
        """Return the oldest message that is not answered for."""
        return self._items[0] if self._items else None

    def rest(self) -> list[Item]:
        """Return, in order, what was never answered for: in doubt when the channel is gone."""
        return [item for item in self._items if item is not None]
