"""What runs a handler sees of the second lock. It knows no server."""

from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Protocol
from uuid import UUID


class SecondLock(Protocol):
    """Around a handler; both forms yield whether the handler may run.

    False means that another handler of the same task still runs: give the claim back. Neither form raises, and neither
    waits for the other handler.
    """

    def hold(self, task_id: UUID) -> AbstractContextManager[bool]:
        """Hold the lock of `task_id` for a block in a thread other than the loop's."""

    def hold_async(self, task_id: UUID) -> AbstractAsyncContextManager[bool]:
        """Hold the lock of `task_id` for a block on the loop."""
