"""The slot that keeps WAL for replays: a copy of the relay's slot that stays behind it.

Whose it is is stored before it is made: a name proves nothing. What is not noted in the relay's own row is not moved
and not dropped, and neither is a slot of another database, which a restored copy of the row may name.
"""

from dataclasses import dataclass

from psycopg.rows import class_row, scalar_row

from relay.core.errors import NotOurs, SlotHeld, SourceRefused
from relay.core.position import Lsn
from relay.storage.sessions.session import Session

_MOVING = 600.0
"""Seconds. To move a slot Postgres reads the WAL that it passes."""
SUFFIX = "_replay"


def name_of(slot: str) -> str:
    """Return the name of the slot that keeps WAL for replays beside `slot`."""
    return slot + SUFFIX


@dataclass(frozen=True, slots=True)
class ReplaySlotState:
    """The columns of sql/queries/window_watch.sql: how the slot stands, and the relay's own."""

    noted: str | None
    """The slot that the relay has noted as its own, made or not."""
    found: bool
    here: bool
    """Whether the slot that was found belongs to this database, and stays."""
    lost: bool
    oldest: str | None
    """Where a replay may begin."""
    retained_bytes: int | None
    confirmed: str | None
    """Where the relay's own slot stands; None if there is none that can be read."""
    slot_retained_bytes: int | None
    wal_end: str
    keep_size_mib: int
    """max_slot_wal_keep_size; -1 without a limit."""


class ReplaySlot:
    """Asks about the slot of `relay` on `asking`; makes, moves and drops it on `moving`, which may take minutes."""

    def __init__(self, asking: Session, moving: Session, *, slot: str, relay: str) -> None:
        self._asking = asking
        self._moving = moving
        self._of = slot
        self._relay = relay
        self.name = name_of(slot)

    async def state(self) -> ReplaySlotState:
        """Return how it stands; raises SourceUnavailable or SourceRefused."""
        asked = {"name": self._relay, "slot": self._of, "window": self.name}
        state = await self._asking.fetch(class_row(ReplaySlotState), "window_watch", asked)
        if state is None:
            raise SourceRefused("Postgres gave no state", remedy="this is a bug in sql/queries/window_watch.sql")
        return state

    async def make(self) -> None:
        """Note it, and copy the relay's slot; raises NotOurs if another relay has noted that name."""
        if not await self._note(self.name):
            raise NotOurs(
                f"replication slot {self.name!r} is another relay's",
                remedy="set RELAY_SLOT of one of the two to a name that is not the other's followed by "
                f"{SUFFIX}; or unset RELAY_REPLAY_WINDOW",
            )
        await self._moving.execute("window_make", {"slot": self._of, "window": self.name})

    async def move(self, noted: str, to: Lsn) -> None:
        """Let what is before `to` go; raises SlotHeld if somebody else uses the slot."""
        try:
            await self._moving.execute("slot_advance", {"slot": noted, "lsn": str(to)}, seconds=_MOVING)
        except SlotHeld as problem:
            raise SlotHeld(problem.what, remedy="end who streams from it: a replay reads a copy of it") from problem

    async def drop(self, noted: str) -> None:
        """Drop it; raises SlotHeld if somebody uses it. It is still noted."""
        try:
            await self._moving.execute("slot_drop", {"slot": noted})
        except SlotHeld as problem:
            raise SlotHeld(problem.what, remedy="end who streams from it: a replay reads a copy of it") from problem

    async def forget(self) -> None:
        """Note that there is none."""
        await self._note(None)

    async def _note(self, window: str | None) -> bool:
        asked = {"name": self._relay, "window": window}
        return await self._asking.fetch(scalar_row, "window_note", asked) is not None
