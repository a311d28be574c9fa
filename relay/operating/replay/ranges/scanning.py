"""Reads a range of the WAL without publishing it: how many events it has, and where some of them are."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import NamedTuple

from relay import app
from relay.core.event import Boundary
from relay.core.position import Lsn
from relay.core.replay import Job, Selection, WalRange
from relay.operating.replay.ranges.found import Count
from relay.settings import RelaySettings
from relay.sources.replay.wal import Origin, WalReader
from relay.sources.replay.within import Located
from relay.storage.server import Server
from relay.storage.sessions.session import Session


class Place(NamedTuple):
    """Where an event is in the WAL: the begin of its commit record, and its end."""

    begin: Lsn
    end: Lsn


def count(
    settings: RelaySettings, wanted: WalRange, selection: Selection, origin: Origin, *, beyond: Lsn | None
) -> Count:
    """Return which events of the range a replay publishes, behind `beyond` if it is not None, by reading it."""
    return asyncio.run(_count(settings, wanted, selection, origin, beyond or wanted.after))


def reader(  # noqa: PLR0913 - what a reader is made of
    settings: RelaySettings,
    session: Session,
    wanted: WalRange,
    *,
    selection: Selection,
    origin: Origin,
    name: str,
    database_url: Callable[[], str],
) -> WalReader:
    """Return what opens a range of the WAL; `session` is for its questions."""
    return WalReader(
        database_url,
        session,
        Server(session, name=settings.name, slot=settings.slot, table=settings.table),
        app.decoding(settings),
        wanted,
        selection=selection,
        origin=origin,
        name=name,
        plugin=settings.plugin,
        observe=lambda _: None,
    )


def origin_of(job: Job) -> Origin:
    """Return whose WAL the range of `job` is of."""
    return Origin(job.system_identifier, job.timeline)


def places(settings: RelaySettings, whole: WalRange, origin: Origin, ids: set[str]) -> dict[str, Place]:
    """Return where those of the events `ids` are that the range has."""
    return asyncio.run(_places(settings, whole, origin, ids))


@asynccontextmanager
async def _reader(
    settings: RelaySettings, wanted: WalRange, selection: Selection, origin: Origin
) -> AsyncIterator[WalReader]:
    def url() -> str:
        return settings.database_url.get_secret_value()

    name = f"{settings.name} replay"
    async with Session(url, name=f"{name} facts", slot=settings.slot) as session:
        yield reader(settings, session, wanted, selection=selection, origin=origin, name=name, database_url=url)


async def _count(settings: RelaySettings, wanted: WalRange, selection: Selection, origin: Origin, after: Lsn) -> Count:
    events = 0
    first = last = None
    if after >= wanted.until:
        return Count(events, first, last)
    async with _reader(settings, wanted, selection, origin) as made, made.reading(after) as reading:
        while not reading.ended:
            for item in await reading.located():
                if isinstance(item, Located) and selection.takes(item.event):
                    events += 1
                    last = item.event.created_at
                    first = first or last
    return Count(events, first, last)


async def _places(settings: RelaySettings, whole: WalRange, origin: Origin, ids: set[str]) -> dict[str, Place]:
    """Return where those events are that are in the range; an event that is there twice is where it was first."""
    begins: dict[str, Lsn] = {}
    places: dict[str, Place] = {}
    if whole.after >= whole.until:
        return places
    async with _reader(settings, whole, Selection(), origin) as made, made.reading(whole.after) as reading:
        while not reading.ended and len(places) < len(ids):
            for item in await reading.located():
                if isinstance(item, Boundary):
                    places |= {each: Place(begin, item.position) for each, begin in begins.items()}
                    begins.clear()
                elif item.event.id in ids - places.keys():
                    begins.setdefault(item.event.id, item.commits_at)
    return places
