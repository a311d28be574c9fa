"""The seams of the relay: what the engine needs of its parts, and no more."""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from msgspec import Struct

from relay.core.event import Boundary, Message, OutboxEvent
from relay.core.ledger import Stretch
from relay.core.position import Lsn


class Parcel(Struct, frozen=True, gc=False):
    """An event on its way: with the message that carries it, and the stretch that it is settled with."""

    stretch: Stretch
    event: OutboxEvent
    message: Message


class Rejection(Struct, frozen=True, gc=False):
    """An event that cannot be published, and why."""

    parcel: Parcel
    reason: str
    """One word for a metric: returned, refused, too_large, unencodable."""
    detail: str
    """A sentence for an operator."""


class Outcomes(Protocol):
    """Who is told what became of parcels: every parcel once, from the loop."""

    def confirmed(self, parcels: Sequence[Parcel]) -> None:
        """Take note of what the broker has taken: confirmed, and not returned."""

    def rejected(self, rejections: Sequence[Rejection]) -> None:
        """Take note of what cannot be published as it is, and would not be if it were published again."""


class Stream(Protocol):
    """An open source, read in order from one position on."""

    async def receive(self) -> Sequence[OutboxEvent | Boundary]:
        """Return what has arrived, at least one item; raises SourceUnavailable when the stream breaks."""

    def confirm(self, position: Lsn) -> None:
        """Report to the source that everything up to `position` is confirmed; returns at once."""

    async def store(self, position: Lsn) -> None:
        """Store `position` so that it survives a crash of both sides; raises SourceUnavailable if it cannot now."""


class Source(Protocol):
    """Where events come from."""

    def open(self, after: Lsn | None) -> AbstractAsyncContextManager[Stream]:
        """Open the stream after the position that this process has confirmed or, with None, after the stored one.

        Raises SourceUnavailable, or SourceRefused when trying again cannot help.
        """


class Publisher(Protocol):
    """Where messages go."""

    def notify(self, outcomes: Outcomes) -> None:
        """Tell `outcomes` what becomes of what is published."""

    async def publish(self, parcels: Sequence[Parcel]) -> None:
        """Take `parcels` in order; returns when there is room for more."""

    async def settled(self) -> None:
        """Return when every parcel taken has an outcome."""

    def in_flight(self) -> int:
        """Return how many parcels have no outcome yet."""

    def forget(self) -> None:
        """Drop everything without an outcome, and the connection; nothing taken before is published after this."""

    async def away(self, seconds: float) -> None:
        """Return when the broker has not been there for so long."""

    async def run(self) -> None:
        """Keep the connection to the broker until cancelled; what was in doubt is published again.

        Raises a Problem when the policy is to halt.
        """


class Parking(Protocol):
    """Where rejected events are kept until an operator decides."""

    async def park(self, rejections: Sequence[Rejection], *, after: Lsn | None) -> None:
        """Store `rejections`, durably; raises SourceUnavailable if that is not possible now.

        `after` is a position after which a stream delivers them all again.
        """
