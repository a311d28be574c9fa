"""Lanes: the events of one aggregate for one handler, one after another. Pure, but for the event that wakes a lane.

A lane is in the order of arrival; that of a handler that checks versions is in the order of versions, so that an event
that came too early lets those before it pass.
"""

import asyncio
import contextlib
from collections.abc import Callable

from consumers.events.applying.work import Work


class Lane:
    """The work of one aggregate for one handler."""

    def __init__(self, *, by_version: bool) -> None:
        self._by_version = by_version
        self._waiting: list[Work] = []
        self._news = asyncio.Event()
        self._curious = False
        """Whether more work ends the pause."""
        self.busy: Work | None = None
        """What is being applied now."""

    def __len__(self) -> int:
        """Return how much is left."""
        return len(self._waiting)

    def add(self, work: Work) -> None:
        """Put `work` into its place."""
        self._waiting.append(work)
        if self._curious:
            self._news.set()

    def first(self) -> Work | None:
        """Return what is next; of one version, what came first."""
        if not self._waiting:
            return None
        if not self._by_version:
            return self._waiting[0]
        return min(self._waiting, key=lambda work: work.event.aggregate_version)

    def done(self, work: Work) -> None:
        """Remove `work`."""
        self._waiting.remove(work)

    def drop(self, obsolete: Callable[[Work], bool]) -> None:
        """Remove work that is obsolete and not being applied."""
        self._waiting = [work for work in self._waiting if work is self.busy or not obsolete(work)]
        self._news.set()

    def wake(self) -> None:
        """End a pause."""
        self._news.set()

    async def pause(self, seconds: float, *, for_more: bool = False) -> None:
        """Wait for `seconds`, or until it is woken; `for_more`, also until more work comes."""
        self._news.clear()
        self._curious = for_more
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._news.wait(), seconds)
