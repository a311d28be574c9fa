"""What RabbitMQ has confirmed, kept until it is stored: the numbers and ids of events, taken from the confirms.

It is stored with the position, and not derived from it: an event that was passed over on its way is missing here,
although the position says that it was published. `relay audit` compares the two.
"""

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

from relay.core.ports import Parcel

_AT_MOST = 100_000
"""As many events wait to be stored; about 15 MB. A crash would publish them again."""


class Confirms(NamedTuple):
    """Events that were confirmed: their numbers, and their ids in the same order. One may be there twice."""

    seqs: list[int]
    ids: list[str]

    def parameters(self) -> dict[str, object]:
        """Return them as parameters of the queries that store them."""
        return {"confirmed_seqs": self.seqs, "confirmed_ids": self.ids}


class Evidence:
    """Collects confirms; with `recording` off it keeps none, for an outbox that cannot be audited."""

    def __init__(self, *, recording: bool, at_most: int = _AT_MOST) -> None:
        self._recording = recording
        self._at_most = at_most
        self._confirms = Confirms([], [])
        self._taken = asyncio.Event()

    def confirmed(self, parcels: Sequence[Parcel]) -> None:
        """Note that `parcels` are confirmed, before anything else learns of it.

        Redriven events are left out: relay.parked has their confirms, and they may be of an outbox that was read
        before.
        """
        if self._recording:
            messages = [parcel.message for parcel in parcels if parcel.event.redrives is None]
            self._confirms.seqs.extend([message.seq for message in messages])
            self._confirms.ids.extend([message.id for message in messages])

    def take(self) -> Confirms:
        """Return what was confirmed since the last time, to be stored."""
        taken, self._confirms = self._confirms, Confirms([], [])
        self._taken.set()
        return taken

    def give_back(self, confirms: Confirms) -> None:
        """Keep `confirms` again: they were not stored, or it is not known whether they were."""
        self._confirms.seqs[:0] = confirms.seqs
        self._confirms.ids[:0] = confirms.ids

    def forget(self) -> None:
        """Forget what was not stored: a database that went back in time gives those numbers to other events."""
        self.take()

    @property
    def waits(self) -> bool:
        """Whether there is something to store, even if the position is the stored one."""
        return bool(self._confirms.seqs)

    @property
    def much(self) -> bool:
        """Whether it is to be stored soon: within a large transaction the position does not move."""
        return len(self._confirms.seqs) * 2 >= self._at_most

    async def room(self) -> None:
        """Return when more may be published: while nothing can be stored, what is kept here is limited."""
        while len(self._confirms.seqs) >= self._at_most:
            self._taken.clear()
            await self._taken.wait()


NONE = Confirms([], [])
"""Nothing was confirmed."""
