"""Parking on a real Postgres: what is stored, and how much at once."""

import asyncio
import json

from msgspec import structs

from relay.core.event import Headers
from relay.core.ledger import Stretch
from relay.core.ports import Parcel, Rejection
from relay.core.position import Lsn
from relay.core.routing import Router
from relay.storage.parking import PostgresParking
from relay.storage.session import Session
from sandbox.lifetime.isolation import Isolated
from tests.integration.relay.stage import one
from tests.support.examples import EVENT


def test_events_that_are_larger_together_than_a_jsonb_may_be_are_parked_at_once(isolated: Isolated) -> None:
    size = 70_000_000
    router = Router("outbox", "{aggregate_type}.{event_type}")
    events = [structs.replace(EVENT, id=name, payload=name.encode() * size) for name in "ab"]
    rejections = [
        Rejection(Parcel(Stretch(), event, router.route(event)), "too_large", "it is large") for event in events
    ]

    async def park() -> None:
        async with Session(lambda: isolated.database_url, name="relay parking", slot=isolated.name) as session:
            await PostgresParking(session, relay="relay", outbox="outbox.event").park(rejections, after=Lsn(1))

    asyncio.run(park())

    for name in "ab":
        stored = "SELECT payload = convert_to(repeat(id, %s), 'UTF8') FROM relay.parked WHERE id = %s"
        assert one(isolated.database_url, stored, size, name)


def test_what_no_jsonb_no_bigint_and_no_text_holds_is_parked_all_the_same(isolated: Isolated) -> None:
    """Parking that Postgres refuses would stop the relay at a row that a table of the application's own may have."""
    written = '{"zero": "\\u0000", "half": "\\ud800", "large": 1e400, "digits": 1' + "0" * 5000 + "}"
    headers = Headers(written, json.loads('{"large": 1e400}'))
    event = structs.replace(
        EVENT, id="odd", seq=10**25, aggregate_id="b\0c", aggregate_version=-(10**25), headers=headers
    )
    rejection = Rejection(Parcel(Stretch(), event, Router("outbox", "{event_type}").route(event)), "unencodable", "odd")

    async def park() -> None:
        async with Session(lambda: isolated.database_url, name="relay parking", slot=isolated.name) as session:
            await PostgresParking(session, relay="relay", outbox="outbox.event").park([rejection], after=Lsn(1))

    asyncio.run(park())

    stored = "SELECT (headers::text, seq, aggregate_id, aggregate_version)::text FROM relay.parked WHERE id = 'odd'"
    kept = "SELECT (%s::text, 9223372036854775807, %s::text, -9223372036854775808)::text"
    assert one(isolated.database_url, stored) == one(isolated.database_url, kept, written, "b\ufffdc")
