"""Events that an operator wants published again: they are asked for in their rows of relay.parked, and read there.

So a redrive does not depend on the source: it survives a change of it, and a crash. An event whose message was
confirmed and whose row was not marked is published once more, under the same id.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress

from outboxkit.errors import Problem
from relay.core.ledger import Stretch
from relay.core.lifetime.attempts import Attempts
from relay.core.messages.routing import Router
from relay.core.observations import Observe
from relay.core.ports import Parcel, Publisher, RedriveStore, Rejection

_LOOK_EVERY = 1.0


class Redrives:
    """Publishes what is asked for in `store`, beside the events of the source; only the active relay does."""

    def __init__(
        self, store: RedriveStore, router: Router, publisher: Publisher, observe: Observe, *, every: float = _LOOK_EVERY
    ) -> None:
        self._store = store
        self._router = router
        self._publisher = publisher
        self._attempts = Attempts("redriven events", observe)
        self._every = every
        self._outstanding: dict[int, Parcel] = {}
        """The parcels without an outcome, by their rows."""
        self._done: list[int] = []
        """The rows whose messages are confirmed, and that are not marked yet."""
        self._changed = asyncio.Event()

    def __bool__(self) -> bool:
        """Return whether any parcel has no outcome yet."""
        return bool(self._outstanding)

    def confirmed(self, parcels: Sequence[Parcel]) -> None:
        """Note those of `parcels` that were redriven."""
        self._done += [row for parcel in parcels if (row := self._ended(parcel)) is not None]

    def rejected(self, rejections: Sequence[Rejection]) -> None:
        """Note those that were redriven: parking them lets their rows wait again."""
        for rejection in rejections:
            self._ended(rejection.parcel)

    def clear(self) -> None:
        """Drop what has no outcome: nothing of it is published any more, and it is read again."""
        self._outstanding.clear()

    async def run(self) -> None:
        """Publish what is asked for, until cancelled; a Problem is reported, and it is tried again."""
        while True:
            self._changed.clear()
            try:
                await self._look()
            except Problem as problem:
                self._attempts.failed(problem)
            else:
                self._attempts.succeeded()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._every):
                    await self._changed.wait()

    async def _look(self) -> None:
        if done := self._done.copy():
            await self._store.redriven(done)
            del self._done[: len(done)]
        if self._outstanding:
            return
        parcels = [
            Parcel(Stretch(in_flight=1), event, self._router.route(event), event.place or 1)
            for event in await self._store.asked()
        ]
        self._outstanding = {parcel.event.redrives: parcel for parcel in parcels if parcel.event.redrives is not None}
        if parcels:
            await self._publisher.publish(parcels)

    def _ended(self, parcel: Parcel) -> int | None:
        """Return the row of `parcel` if it is one of these, and take it out."""
        row = parcel.event.redrives
        if row is None or self._outstanding.get(row) is not parcel:
            return None
        del self._outstanding[row]
        if not self._outstanding:
            self._changed.set()
        return row
