"""One active relay among its replicas, whichever source it reads; or several that share the table.

The active relay has an advisory lock, on a session of its own. Postgres lets go of the lock when the session ends: with
the process, or when it has been silent for ten seconds (sql/queries/session_leader.sql). The relay asks every two
seconds and stops reading seven seconds after the last answer at the latest, so it stops before another can begin.
What a process held that was frozen longer than that, its fencing drops.

Pollers that share the table share the lock too: no relay that keeps an order is active beside them.
"""

import asyncio
from dataclasses import dataclass
from datetime import datetime

from psycopg.rows import class_row, scalar_row

from relay.core.errors import AnotherLeads, LeadershipLost
from relay.storage.sessions.session import Session

_ASK_EVERY = 2.0
_ANSWER_WITHIN = 5.0


@dataclass(frozen=True, slots=True)
class _Taken:
    """The columns of sql/queries/leader_take.sql."""

    taken: bool
    pid: int
    holder_pid: int | None
    holder_name: str | None
    holder_since: datetime | None
    holder_address: str | None


class Leadership:
    """The lock of the relay `name`, on `session`, which nothing else uses; `shared` with other pollers, or alone."""

    def __init__(self, session: Session, *, name: str, shared: bool = False) -> None:
        self._session = session
        self._name = name
        self._shared = shared
        self._pid: int | None = None

    async def take(self) -> None:
        """Become the active relay, or stay it; raises AnotherLeads with the name of the one that is."""
        self._pid = None
        asked = {"name": self._name, "shared": self._shared}
        taken = await self._session.fetch(class_row(_Taken), "leader_take", asked, seconds=_ANSWER_WITHIN)
        assert taken is not None  # noqa: S101 - the query always returns one row
        if not taken.taken:
            raise AnotherLeads(
                f"relay {self._name!r} is active elsewhere: {_named(taken)}",
                remedy="this relay stands by and takes over when that one ends",
            )
        self._pid = taken.pid

    async def held(self) -> bool:
        """Ask whether the lock is still the one that was taken; raises SourceUnavailable if there is no answer."""
        asked = {"name": self._name, "pid": self._pid}
        held = await self._session.fetch(scalar_row, "leader_held", asked, seconds=_ANSWER_WITHIN)
        return bool(held) and self._pid is not None

    async def redrives(self) -> bool:
        """Ask whether this one of several active pollers publishes what is redriven; raises as `held` does."""
        asked = {"name": self._name}
        return bool(await self._session.fetch(scalar_row, "redrives_turn", asked, seconds=_ANSWER_WITHIN))

    async def run(self) -> None:
        """Ask again and again, until cancelled; raises SourceUnavailable when the lock is lost, or may be."""
        while True:
            await asyncio.sleep(_ASK_EVERY)
            if not await self.held():
                raise LeadershipLost(
                    "Postgres ended the session that made this relay the active one",
                    remedy="it becomes active again by itself, or another one does",
                )


def _named(holder: _Taken) -> str:
    if holder.holder_pid is None:
        return "it has just ended"
    at = f" on {holder.holder_address}" if holder.holder_address else ""
    since = f", since {holder.holder_since:%Y-%m-%d %H:%M:%S %Z}" if holder.holder_since else ""
    return f"{holder.holder_name!r}{at}, pid {holder.holder_pid}{since}"
