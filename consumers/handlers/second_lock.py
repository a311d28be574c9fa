"""The second lock around a handler, as the execution sees it: defence in depth, and no part of the guarantees."""

from contextlib import AbstractAsyncContextManager, AbstractContextManager, nullcontext
from typing import Protocol
from uuid import UUID


class SecondLock(Protocol):
    """A lock of a task; a block that does not hold it must not run the handler."""

    def hold(self, task_id: UUID) -> AbstractContextManager[bool]:
        """Hold the lock during the block, in a thread; False if somebody else has it."""

    def hold_async(self, task_id: UUID) -> AbstractAsyncContextManager[bool]:
        """Hold the lock during the block, on the loop; False if somebody else has it."""


class NoLock:
    """No second lock: CONSUMERS_LOCK=none."""

    def __init__(self) -> None:
        self._held = nullcontext(True)

    def hold(self, task_id: UUID) -> AbstractContextManager[bool]:
        """Hold nothing."""
        del task_id
        return self._held

    def hold_async(self, task_id: UUID) -> AbstractAsyncContextManager[bool]:
        """Hold nothing."""
        del task_id
        return self._held
