"""Parking on a real Postgres: what is stored, and how much at once."""

import asyncio

from msgspec import structs

from relay.checkpoint import CheckpointStore
from relay.ledger import Ticket
from relay.parking import PostgresParking
from relay.ports import Parcel, Rejection
from relay.position import Lsn
from relay.routing import Router
from sandbox.isolation import Isolated
from tests.integration.relay_stage import one
from tests.unit.test_relay_encoding import EVENT


def test_events_that_are_larger_together_than_a_jsonb_may_be_are_parked_at_once(isolated: Isolated) -> None:
    size = 70_000_000
    router = Router("outbox", "{aggregate_type}.{event_type}")
    events = [structs.replace(EVENT, id=name, payload=name.encode() * size) for name in "ab"]
    rejections = [
        Rejection(Parcel(Ticket(), event, router.route(event)), "too_large", "it is large") for event in events
    ]

    async def park() -> None:
        async with CheckpointStore(lambda: isolated.database_url, name="relay", slot=isolated.name) as store:
            await PostgresParking(store, relay="relay").park(rejections, after=Lsn(1))

    asyncio.run(park())

    for name in "ab":
        stored = "SELECT payload = convert_to(repeat(id, %s), 'UTF8') FROM relay.parked WHERE id = %s"
        assert one(isolated.database_url, stored, size, name)
