"""What a server of second locks provides. A server keeps locks only; it holds no copy of a task."""

from typing import Protocol
from uuid import UUID


class ServerAwayError(Exception):
    """The server did not answer, or not with a lock; `refused` is true where only another configuration helps."""

    def __init__(self, reason: str, *, refused: bool = False) -> None:
        super().__init__(reason)
        self.refused = refused


class Held(Protocol):
    """One lock that this consumer has taken. It is used by one coroutine at a time."""

    async def extend(self) -> bool:
        """Keep it for longer; return False if it was lost. Raises ServerAwayError."""

    async def release(self) -> bool:
        """Give it up; return False if it had been lost. Raises ServerAwayError."""

    def forget(self) -> None:
        """Drop what this consumer has of it, without asking the server."""


class LockServer(Protocol):
    """A server of second locks; its methods run on the loop, and may be cancelled."""

    async def take(self, task_id: UUID) -> Held | None:
        """Take the lock of `task_id`, without waiting for it; None if another has it. Raises ServerAwayError."""

    async def probe(self) -> None:
        """Raise ServerAwayError unless locks can be taken and released."""

    async def close(self) -> None:
        """Close its connections; it raises nothing."""
