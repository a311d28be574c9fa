"""What reads the other source. A reader begins where the source stands now, and stores nothing."""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import NamedTuple, Protocol

from relay.core.position import Position
from relay.shadow.row import Row
from relay.storage.state import Mode


class Part(NamedTuple):
    """What was read next."""

    rows: Sequence[Row]
    reached: Position | None = None
    """Everything up to here has been read; None if nothing more is known than before."""


class Reading(Protocol):
    """A source that is being read."""

    slot: str | None
    """Its temporary slot, if it has one."""

    def count_from(self, transaction: int) -> None:
        """Read only events of `transaction`, and of later ones."""

    async def next(self) -> Part:
        """Return what comes next; raises a Problem when the source cannot be read on."""


class Reader(Protocol):
    """Opens the other source."""

    mode: Mode

    def open(self) -> AbstractAsyncContextManager[Reading]:
        """Open it where it stands now; raises a Problem if it cannot be read."""
