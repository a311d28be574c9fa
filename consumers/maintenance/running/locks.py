"""The locks of scheduled jobs, in `tasks.lock`. All times are the database's; a node's clock is never read.

Each method is one statement, and may be sent twice if its connection breaks. An acquire whose answer was lost is found
again by its holder's name, which no other process has: a process never asks for a lock that it holds.
"""

from dataclasses import dataclass
from datetime import datetime

from consumers.postgres.database import Database
from outboxkit import sql


@dataclass(frozen=True, slots=True)
class Lock:
    """A lock after it was asked for; `held` if it is the asker's."""

    held: bool
    epoch: int
    locked_until: datetime
    holder: str
    held_for: float
    """For how many seconds it has been held."""
    ends_at: float
    """How many seconds after it was taken it ends."""


class Locks:
    """The locks that `holder` takes; the name is for this process alone."""

    def __init__(self, database: Database, *, holder: str) -> None:
        self._database = database
        self._holder = holder

    async def acquire(self, name: str, *, at_most: float) -> Lock:
        """Take the lock `name` for at most `at_most` seconds, unless somebody holds it."""
        parameters = {"name": name, "at_most": at_most, "holder": self._holder}
        (row,) = await self._database.fetch(sql.query("task_lock_acquire"), parameters)
        acquired, epoch, locked_until, holder, held_for, ends_at, ended = row
        lost_answer = holder == self._holder and not ended
        return Lock(acquired or lost_answer, epoch, locked_until, holder, held_for, ends_at)

    async def release(self, name: str, lock: Lock, *, at_least: float) -> bool:
        """End a lock, or let it end `at_least` seconds after it was taken. Return whether it was still held."""
        parameters = {"name": name, "epoch": lock.epoch, "at_least": at_least}
        ((held,),) = await self._database.fetch(sql.query("task_lock_release"), parameters)
        return bool(held)

    async def extend(self, name: str, lock: Lock, *, at_most: float) -> bool:
        """Hold a lock for `at_most` seconds from now on. Return whether it is still held."""
        parameters = {"name": name, "epoch": lock.epoch, "at_most": at_most}
        ((held,),) = await self._database.fetch(sql.query("task_lock_extend"), parameters)
        return bool(held)

    async def now(self) -> datetime:
        """Return the database's time."""
        ((now,),) = await self._database.fetch(sql.query("database_time"))
        return now  # type: ignore[no-any-return]  # clock_timestamp()
