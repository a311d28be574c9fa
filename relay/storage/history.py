"""The history of a relay's changes of source: `relay.handover`; and what an operator has asked for."""

from typing import Any, NamedTuple

from psycopg.rows import kwargs_row, scalar_row

from relay.core.observations import HandedOver
from relay.storage.sessions.session import Session
from relay.storage.state import State


class Slots(NamedTuple):
    """The slots that were made within the last hour."""

    made: int
    seconds: float | None
    """Until the first of them is older than an hour."""


class History:
    """The changes of `relay`, by all its replicas."""

    def __init__(self, session: Session, *, relay: str) -> None:
        self._session = session
        self._relay = relay

    async def note(self, change: HandedOver, state: State, *, new_slot: bool) -> None:
        """Store `change`, after which `state` is where the relay stands; raises SourceUnavailable."""
        await self._session.execute("handover_insert", {
            "relay": self._relay, "from_mode": change.source, "to_mode": change.to, "reason": change.reason,
            "detail": change.detail, "new_slot": new_slot, "duplicates": change.duplicates,
            "lsn": state.parameters()["lsn"], "snapshot": state.parameters()["snapshot"],
        })  # fmt: skip

    async def slots(self) -> Slots:
        """Return how many slots were made within the last hour."""
        found: Any = await self._session.fetch(kwargs_row(Slots), "handover_slots", {"relay": self._relay})
        return found or Slots(0, None)

    async def wanted(self) -> str:
        """Return what an operator has asked for with `relay switch`: auto, wal or polling."""
        return str(await self._session.fetch(scalar_row, "handover_wanted", {"relay": self._relay}) or "auto")
