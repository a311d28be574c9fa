"""Which published messages the broker has not answered for, on one channel. Pure.

Delivery tags count from 1 on each channel and die with it. Confirms come out of order and may answer for all tags up
to theirs at once; a return comes before the confirm of the same message and carries no tag, so it is matched by
message id (https://www.rabbitmq.com/docs/confirms, https://www.rabbitmq.com/docs/publishers#unroutable).
"""

from collections import OrderedDict
from typing import NamedTuple

from relay.ports import Parcel
from relay.publishing.encoding import Content


class Item(NamedTuple):
    """A message on its way, with its place in the order of the stream."""

    order: int
    parcel: Parcel
    content: Content
    """The message as it goes on the wire, however often."""

    @property
    def size(self) -> int:
        """Bytes that it is counted for in the window."""
        return len(self.content.header) + len(self.content.body)


class Outstanding:
    """The unanswered messages of one channel."""

    def __init__(self) -> None:
        self._items: OrderedDict[int, Item] = OrderedDict()
        self._returned: dict[str, str] = {}
        self._last_tag = 0

    def __len__(self) -> int:
        return len(self._items)

    def published(self, item: Item) -> int:
        """Note that `item` was given to the channel; return its delivery tag."""
        self._last_tag += 1
        self._items[self._last_tag] = item
        return self._last_tag

    def returned(self, message_id: str, why: str) -> None:
        """Note that the broker gave the message back: its confirm is still to come and will not count."""
        self._returned[message_id] = why

    def answered(self, tag: int, *, multiple: bool) -> list[Item]:
        """Take out and return, in order, the messages that a confirm or a nack with this `tag` answers for.

        Raises ValueError for a tag that is not outstanding, which no broker sends.
        """
        if not multiple:
            if tag not in self._items:
                raise ValueError(f"delivery tag {tag} is not outstanding")
            return [self._items.pop(tag)]
        taken = []
        while self._items and (tag == 0 or next(iter(self._items)) <= tag):
            taken.append(self._items.popitem(last=False)[1])
        return taken

    def why_returned(self, item: Item) -> str | None:
        """Return, once, the broker's words for giving the message back; None if it did not."""
        return self._returned.pop(item.parcel.message.id, None)

    def first(self) -> Item | None:
        """Return the oldest message that is not answered for."""
        return next(iter(self._items.values()), None)

    def rest(self) -> list[Item]:
        """Return, in order, what was never answered for: in doubt when the channel is gone."""
        return list(self._items.values())
