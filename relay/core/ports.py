"""The seams of the relay: what the engine needs of its parts, and no more."""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

from msgspec import Struct

from relay.core.event import Boundary, Message, OutboxEvent
from relay.core.ledger import Stretch
from relay.core.position import P, Position


class Parcel(Struct, frozen=True, gc=False):
    """An event on its way: with the message that carries it, and the stretch of the ledger that counts it."""

    stretch: Stretch
    event: OutboxEvent
    message: Message
    place: int = 1
    """Which event of its transaction it is, from 1."""


class Rejection(Struct, frozen=True, gc=False):
    """An event that cannot be published, and why."""

    parcel: Parcel
    reason: str
    """One word for a metric: returned, refused, too_large, unencodable."""
    detail: str
    """A sentence for an operator."""


class Outcomes(Protocol):
    """Learns the outcome of parcels: of every parcel once, from the loop."""

    def confirmed(self, parcels: Sequence[Parcel]) -> None:
        """Note that the broker has taken `parcels`: confirmed, and not returned."""

    def rejected(self, rejections: Sequence[Rejection]) -> None:
        """Note what cannot be published, however often it is tried."""


class Routes(Protocol):
    """Makes messages from events."""

    def route(self, event: OutboxEvent) -> Message:
        """Return the message for `event`; the same event always gives the same message."""


class Stream(Protocol[P]):
    """An open source, read in order from one position on."""

    @property
    def start(self) -> P | None:
        """That position: everything up to it is settled. None if it is not known."""

    async def receive(self) -> Sequence[OutboxEvent | Boundary[P]]:
        """Return what has arrived, at least one item; raises SourceUnavailable when the stream breaks."""

    def confirm(self, position: P) -> None:
        """Note that everything up to `position` is confirmed; returns at once."""

    async def store(self, position: P) -> None:
        """Store `position` so that it survives a crash of both sides, and then let the source forget what is before it.

        Raises PositionLost or OutboxChanged if the stream must be opened again, and SourceUnavailable if it cannot be
        stored now.
        """

    async def run(self) -> None:
        """Do what the stream needs beside being read, until cancelled; raises what ends the stream."""


class Source(Protocol):
    """Where events come from."""

    def open(self, after: Position | None) -> AbstractAsyncContextManager[Stream[Any]]:
        """Open the stream after `after`, which this process has confirmed, or after the stored position.

        `after` is None, or a position that this source gave. Raises SourceUnavailable, or SourceRefused when trying
        again cannot help.
        """

    async def held(self) -> bool:
        """Ask whether the stream that is open still has the source to itself: so it was after the question.

        Raises SourceUnavailable if there is no answer.
        """


class Publisher(Protocol):
    """Where messages go."""

    def notify(self, outcomes: Outcomes) -> None:
        """Report the outcome of every parcel to `outcomes`."""

    async def publish(self, parcels: Sequence[Parcel]) -> None:
        """Take `parcels` in order; returns when there is room for more."""

    async def drained(self) -> None:
        """Return when every parcel taken has an outcome."""

    def in_flight(self) -> int:
        """Return how many parcels have no outcome yet."""

    def forget(self) -> None:
        """Drop everything without an outcome, and the connection; nothing taken before is published after this."""

    async def away(self, seconds: float) -> None:
        """Return when the broker has been unreachable for `seconds`."""

    async def run(self) -> None:
        """Keep the connection to the broker until cancelled; what was in doubt is published again.

        Raises a Problem when the policy is to halt.
        """


class RedriveStore(Protocol):
    """Where rejected events are asked for again."""

    async def asked(self) -> Sequence[OutboxEvent]:
        """Return events that are asked for, each with its row in `redrives`; raises SourceUnavailable."""

    async def redriven(self, rows: Sequence[int]) -> None:
        """Mark `rows`: their events were published; raises SourceUnavailable."""


class Parking(Protocol):
    """Where rejected events are kept until an operator decides."""

    async def park(self, rejections: Sequence[Rejection], *, after: Position | None) -> None:
        """Store `rejections`, durably; raises SourceUnavailable if that is not possible now.

        A stream that opens after `after` delivers them all again.
        """
