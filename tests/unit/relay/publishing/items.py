"""Items of the publisher's window."""

from uuid import uuid4

from relay.core.event import Message, Route
from relay.core.ledger import Stretch
from relay.core.ports import Parcel
from relay.publishing.outstanding import Item
from tests.support.examples import EVENT


def item(order: int, message_id: str | None = None) -> Item:
    message = Message(message_id or str(uuid4()), Route("outbox", "a.b", "a", "b"), "1", 1, 1, 0, {}, b"{}")
    return Item(order, Parcel(Stretch(), EVENT, message), b"")
