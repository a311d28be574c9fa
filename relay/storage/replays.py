"""How far a replay is: `relay.replay`, written while its job runs, and with it what RabbitMQ confirmed.

A job runs once at a time: who runs it has an advisory lock, on the session that stores its progress. A session that is
lost loses the lock, and whoever takes the job next stores the rest.
"""

from dataclasses import dataclass

from psycopg.rows import class_row, scalar_row

from outboxkit.errors import Problem
from relay.core.errors import SourceUnavailable
from relay.core.evidence import Evidence
from relay.core.position import Lsn
from relay.core.replay import ReplayPosition, State
from relay.storage.sessions.session import Session


class JobHeld(Problem):
    """Another process runs the job."""


@dataclass(frozen=True, slots=True)
class _Taken:
    """The columns of sql/queries/replay_take.sql."""

    taken: bool
    state: State
    done_seq: int | None
    done_lsn: str | None
    holder_pid: int | None
    holder_name: str | None
    holder_address: str | None


class Progress:
    """The progress of the job `number`, on `session`, which nothing else uses.

    Its owner counts what was `confirmed` and `parked`, in earlier runs too.
    """

    def __init__(self, session: Session, number: int, evidence: Evidence) -> None:
        self._session = session
        self._number = number
        self._evidence = evidence
        self.confirmed = 0
        """How many events were confirmed; one that was published again after a crash counts again."""
        self.parked = 0
        self._position = ReplayPosition()
        """The last one that was to be stored."""

    async def take(self) -> ReplayPosition:
        """Take the job, or keep it; return how far it is. Raises JobHeld, or SourceUnavailable."""
        taken = await self._lock()
        return ReplayPosition(taken.done_seq, None if taken.done_lsn is None else Lsn.parse(taken.done_lsn))

    async def save(self, position: ReplayPosition) -> None:
        """Store `position`, and what was confirmed since the last time; raises JobHeld, or SourceUnavailable."""
        await self._save(position, "running", None)

    async def end(self, state: State, detail: str | None = None) -> None:
        """Store how the job has ended in this process, with what was not stored before; raises as `save` does."""
        await self._save(self._position, state, detail)

    async def _lock(self) -> _Taken:
        taken = await self._session.fetch(class_row(_Taken), "replay_take", {"job": self._number})
        if taken is None:
            raise Problem(f"replay {self._number} is gone", remedy="`relay replay list` shows those that there are")
        if not taken.taken:
            raise self._held(taken)
        return taken

    async def _save(self, position: ReplayPosition, state: State, detail: str | None) -> None:
        self._position = position
        confirms = self._evidence.take()
        stored = False
        try:
            saved = await self._session.fetch(
                scalar_row,
                "replay_save",
                {
                    "job": self._number,
                    "done_seq": position.seq,
                    "done_lsn": None if position.lsn is None else str(position.lsn),
                    "confirmed": self.confirmed,
                    "parked": self.parked,
                    "state": state,
                    "detail": detail,
                    **confirms.parameters(),
                },
            )
            if not saved:
                await self._lock()  # the session was replaced; if nobody took the job meanwhile, the next save succeeds
                raise SourceUnavailable(f"replay {self._number} was let go", remedy="it has been taken again")
            stored = True
        finally:
            if not stored:
                self._evidence.give_back(confirms)

    def _held(self, taken: _Taken) -> JobHeld:
        who = repr(taken.holder_name) if taken.holder_name else "another session"
        at = f" on {taken.holder_address}" if taken.holder_address else ""
        pid = f", pid {taken.holder_pid}" if taken.holder_pid else ""
        return JobHeld(
            f"replay {self._number} runs already: in {who}{at}{pid}",
            remedy=f"wait until it has ended, or stop it; then run `relay replay resume {self._number}`",
        )
