"""A relay that has streamed, a slot that lags behind it, and what a reader gives of a range of the WAL."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import NamedTuple

import psycopg

from relay.core.event import Boundary, OutboxEvent
from relay.core.position import Lsn
from relay.core.replay import ReplayPosition, Selection, WalRange
from relay.operating.replay.ranges import scanning
from relay.operating.setup.steps import setup
from relay.settings import RelaySettings
from relay.sources.replay.wal import Origin, WalReader
from relay.storage.sessions.session import Session
from sandbox import Isolated
from tests.integration.relay.stage import one, settings, streams


class Read(NamedTuple):
    """What was read, in order."""

    ids: list[str]
    boundaries: list[Lsn]


def lagging(isolated: Isolated, **changes: object) -> RelaySettings:
    """Set up a relay whose slot has a copy that stays where it was; return its settings."""
    made = settings(isolated, **changes)
    assert list(setup(made, accept_gap=False))
    streams(isolated)
    with psycopg.connect(isolated.database_url, autocommit=True) as connection:
        connection.execute("SELECT pg_copy_logical_replication_slot(%s, %s, false)", [made.slot, f"{made.slot}_replay"])
    return made


def here(isolated: Isolated) -> Lsn:
    """Return where the WAL ends that was written."""
    return Lsn.parse(one(isolated.database_url, "SELECT pg_current_wal_insert_lsn()::text"))


def flush(isolated: Isolated) -> None:
    """Flush the WAL, as the job does that is stored behind its range."""
    with psycopg.connect(isolated.database_url) as connection:
        connection.execute("SELECT pg_logical_emit_message(true, 'test', '')")


def origin(isolated: Isolated) -> Origin:
    """Return whose WAL it is."""
    with psycopg.connect(isolated.database_url) as connection:
        row = connection.execute(
            "SELECT system_identifier::text, timeline_id FROM pg_control_system(), pg_control_checkpoint()"
        ).fetchone()
    assert row is not None
    return Origin(*row)


@asynccontextmanager
async def reader(
    settings: RelaySettings, wanted: WalRange, of: Origin, selection: Selection
) -> AsyncIterator[WalReader]:
    """Yield what opens `wanted`."""

    def url() -> str:
        return settings.database_url.get_secret_value()

    async with Session(url, name="replay", slot=settings.slot) as session:
        yield scanning.reader(
            settings, session, wanted, selection=selection, origin=of, name="replay", database_url=url
        )


async def read(
    settings: RelaySettings,
    wanted: WalRange,
    of: Origin,
    *,
    after: Lsn | None = None,
    selection: Selection | None = None,
) -> Read:
    """Return what is read of `wanted` behind `after`."""
    found = Read([], [])
    async with (
        reader(settings, wanted, of, selection or Selection()) as opens,
        opens.open(ReplayPosition(lsn=after)) as reading,
    ):
        while True:
            items = await reading.receive()
            _note(found, items)
            last = items[-1]
            if isinstance(last, Boundary) and last.position.complete:
                return found


def _note(found: Read, items: Sequence[OutboxEvent | Boundary[ReplayPosition]]) -> None:
    for item in items:
        if isinstance(item, OutboxEvent):
            found.ids.append(item.id)
        else:
            assert item.position.lsn is not None
            found.boundaries.append(item.position.lsn)
