"""Parks events as the relay does."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from relay.core.event import OutboxEvent
from relay.core.ledger import Stretch
from relay.core.messages.routing import Router
from relay.core.ports import Parcel, Rejection
from relay.core.position import Lsn
from relay.storage.parking import PostgresParking
from relay.storage.sessions.session import Session
from sandbox.lifetime.isolation import Isolated

ROUTER = Router("outbox", "{aggregate_type}.{event_type}")


def rejected(event: OutboxEvent, *, place: int = 1, reason: str = "returned") -> Rejection:
    """Return `event` as one that cannot be published."""
    return Rejection(Parcel(Stretch(), event, ROUTER.route(event), place), reason, "no queue takes it")


def park(
    isolated: Isolated, rejections: Sequence[Rejection], *, relay: str = "relay", outbox: str = "outbox.event"
) -> None:
    """Park `rejections` as `relay`."""

    async def run() -> None:
        async with opened(isolated, relay=relay, outbox=outbox) as parking:
            await parking.park(rejections, after=Lsn(1))

    asyncio.run(run())


def asked(isolated: Isolated) -> Sequence[OutboxEvent]:
    """Return what the relay reads that is asked for."""

    async def run() -> Sequence[OutboxEvent]:
        async with opened(isolated) as parking:
            return await parking.asked()

    return asyncio.run(run())


def published(isolated: Isolated, *rows: int) -> None:
    """Mark `rows` as the relay does when their messages are confirmed."""

    async def run() -> None:
        async with opened(isolated) as parking:
            await parking.redriven(rows)

    asyncio.run(run())


@asynccontextmanager
async def opened(
    isolated: Isolated, *, relay: str = "relay", outbox: str = "outbox.event"
) -> AsyncIterator[PostgresParking]:
    """Open the parking of `relay`."""
    async with Session(lambda: isolated.database_url, name="relay parking", slot=isolated.name) as session:
        yield PostgresParking(session, relay=relay, outbox=outbox)
