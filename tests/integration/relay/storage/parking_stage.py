"""Parks events as the relay does."""

import asyncio
from collections.abc import Sequence

from relay.core.event import OutboxEvent
from relay.core.ledger import Stretch
from relay.core.ports import Parcel, Rejection
from relay.core.position import Lsn
from relay.core.routing import Router
from relay.storage.parking import PostgresParking
from relay.storage.session import Session
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
        async with Session(lambda: isolated.database_url, name="relay parking", slot=isolated.name) as session:
            await PostgresParking(session, relay=relay, outbox=outbox).park(rejections, after=Lsn(1))

    asyncio.run(run())
