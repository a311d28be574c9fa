"""What RabbitMQ confirmed is stored with the position, or not at all."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any
from uuid import UUID

import psycopg
import pytest
from msgspec import structs
from psycopg.rows import dict_row

from relay.core.errors import PositionLost, SourceUnavailable
from relay.core.evidence import Confirms, Evidence
from relay.core.ledger import Stretch
from relay.core.messages.routing import Router
from relay.core.ports import Parcel
from relay.core.position import Lsn, Snapshot
from relay.core.transactions import Transactions
from relay.storage.facts import Facts, Owner
from relay.storage.position import StoredPosition
from relay.storage.server import Server
from relay.storage.sessions.session import Session
from relay.storage.state import State
from sandbox import Isolated
from tests.integration.relay.storage.saving import Saving
from tests.support.examples import EVENT

ROUTER = Router("outbox", "{aggregate_type}.{event_type}")


def ids(*numbers: int) -> list[UUID]:
    return [UUID(int=number) for number in numbers]


def parcels(*numbers: int) -> list[Parcel]:
    events = [structs.replace(EVENT, id=str(UUID(int=number)), seq=number) for number in numbers]
    return [Parcel(Stretch(), event, ROUTER.route(event)) for event in events]


@asynccontextmanager
async def stored(streaming: Isolated, evidence: Evidence) -> AsyncIterator[tuple[StoredPosition, Saving]]:
    async with Saving(lambda: streaming.database_url, name="relay", slot=streaming.name) as session:
        position = StoredPosition(session, Owner("relay", streaming.name, ["outbox.event"]), evidence)
        await position.claim(await facts(streaming, session), plugin="wal2json")
        yield position, session


async def facts(streaming: Isolated, session: Session) -> Facts:
    return await Server(session, name="relay", slot=streaming.name, table="outbox.event").facts()


def state(streaming: Isolated, snapshot: Snapshot | None = None) -> State:
    (found,) = rows(streaming, "SELECT pg_current_wal_flush_lsn()::text AS lsn")
    return State("wal", Lsn.parse(found["lsn"]), snapshot, Transactions())


def rows(streaming: Isolated, question: str) -> Sequence[dict[str, Any]]:
    with psycopg.connect(streaming.database_url, row_factory=dict_row) as connection:
        return connection.execute(question.encode()).fetchall()


CONFIRMED = "SELECT seqs::text, ids, ids_hash FROM relay.confirmed ORDER BY number"
HASHES = (
    "SELECT sum(hashtextextended(lpad(to_hex(n), 32, '0')::uuid::text, 0)::numeric) AS sum FROM unnest(ARRAY[{}]) AS n"
)


def test_numbers_ids_and_the_sum_of_hashes_are_stored_each_event_once(streaming: Isolated) -> None:
    async def scenario() -> None:
        evidence = Evidence(recording=True)
        async with stored(streaming, evidence) as (position, _):
            evidence.confirmed(parcels(12, 10, 11, 15))
            evidence.confirmed(parcels(10))  # the broker got it twice
            await position.save(state(streaming))
            (found,) = rows(streaming, CONFIRMED)
            assert (found["seqs"], found["ids"]) == ("{[10,13),[15,16)}", ids(10, 11, 12, 15))
            assert found["ids_hash"] == rows(streaming, HASHES.format("10,11,12,15"))[0]["sum"]
            await position.save(state(streaming))
            assert len(rows(streaming, CONFIRMED)) == 1

    asyncio.run(scenario())


def test_a_save_that_is_refused_stores_nothing_and_forgets_nothing(streaming: Isolated) -> None:
    async def scenario() -> None:
        evidence = Evidence(recording=True)
        async with stored(streaming, evidence) as (position, _):
            evidence.confirmed(parcels(1, 2))
            ahead = State("wal", Lsn(1 << 60), None, Transactions())
            with pytest.raises(PositionLost):
                await position.save(ahead)
            assert rows(streaming, CONFIRMED) == []
        assert evidence.take() == Confirms([1, 2], [str(each) for each in ids(1, 2)])

    asyncio.run(scenario())


def test_a_save_without_an_answer_is_stored_again(streaming: Isolated) -> None:
    """It may have taken place: an event that is stored twice is the same event."""

    async def scenario() -> None:
        evidence = Evidence(recording=True)
        async with stored(streaming, evidence) as (position, session):
            evidence.confirmed(parcels(1))
            session.answered = False
            with pytest.raises(SourceUnavailable):
                await position.save(state(streaming))
            session.answered = True
            await position.claim(await facts(streaming, session), plugin="wal2json")
            evidence.confirmed(parcels(2))
            await position.save(state(streaming))
        assert [each["seqs"] for each in rows(streaming, CONFIRMED)] == ["{[1,2)}", "{[1,3)}"]

    asyncio.run(scenario())


@pytest.mark.parametrize("by", ["a failover", "another relay"])
def test_what_was_confirmed_and_not_stored_is_forgotten_where_the_position_is_no_longer_the_one_behind_which_it_was(
    streaming: Isolated, by: str
) -> None:
    """It is published, and confirmed, once more; or the new primary lacks it, and gives its numbers to other events."""

    async def scenario() -> None:
        evidence = Evidence(recording=True)
        async with stored(streaming, evidence) as (position, session):
            evidence.confirmed(parcels(1))
            await position.claim(await facts(streaming, session), plugin="wal2json")
            assert evidence.waits, "it is the same position"
            if by == "another relay":
                with psycopg.connect(streaming.database_url) as connection:
                    connection.execute("UPDATE relay.checkpoint SET epoch = epoch + 1")
            found = await facts(streaming, session)
            if by == "a failover":
                found = replace(found, system_identifier="7")
            await position.claim(found, plugin="wal2json")
            evidence.confirmed(parcels(2))
            await position.save(state(streaming))
        assert [each["seqs"] for each in rows(streaming, CONFIRMED)] == ["{[2,3)}"]

    asyncio.run(scenario())


RECORD = (
    "SELECT recorded_epoch = epoch AS complete, recorded_since::text AS since, recorded_besides::text AS besides "
    "FROM relay.checkpoint"
)
SAVED_BY_AN_EARLIER_VERSION = (
    "UPDATE relay.checkpoint SET epoch = epoch + 1, snapshot = '200:200:', streamed = '{[205,206)}'"
)


def test_the_record_begins_again_behind_a_relay_of_an_earlier_version(streaming: Isolated) -> None:
    """It stored a position, and nothing of what it had confirmed: that is not called missing."""

    async def scenario() -> None:
        evidence = Evidence(recording=True)
        async with stored(streaming, evidence) as (position, _):
            await position.save(state(streaming, Snapshot(100, 100)))
        began = rows(streaming, RECORD)[0]
        assert began["complete"]
        with psycopg.connect(streaming.database_url, autocommit=True) as earlier:
            earlier.execute(
                "UPDATE relay.checkpoint SET epoch = epoch + 1, snapshot = '200:200:', streamed = '{[205,206)}'"
            )
        assert not rows(streaming, RECORD)[0]["complete"]
        async with stored(streaming, evidence) as (position, _):
            assert rows(streaming, RECORD)[0] == {"complete": True, "since": "200:200:", "besides": "{[205,206)}"}
            await position.save(state(streaming, Snapshot(300, 300)))
        assert rows(streaming, RECORD)[0]["since"] == "200:200:"
        async with stored(streaming, evidence):
            assert rows(streaming, RECORD)[0]["since"] == "200:200:"

    asyncio.run(scenario())
