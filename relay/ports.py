"""The seams of the relay: what the engine needs of its parts, and no more."""

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from relay.event import Boundary, Message, OutboxEvent
from relay.ledger import Ticket
from relay.position import Lsn

Confirmed = Callable[[Sequence[Ticket]], None]
"""Told which messages the broker has taken: confirmed, and not returned."""


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

    def notify(self, confirmed: Confirmed) -> None:
        """Tell `confirmed`, in batches and from the loop, what the broker has taken."""

    async def publish(self, messages: Sequence[tuple[Ticket, Message]]) -> None:
        """Take messages in order; returns when there is room for more. Raises UnpublishableEvent."""

    async def settled(self) -> None:
        """Return when every message taken has been confirmed."""

    async def run(self) -> None:
        """Keep the connection to the broker until cancelled; what was in doubt is published again."""
