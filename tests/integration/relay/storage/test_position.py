"""The stored position on a real Postgres: only who claimed the row writes it, and never on another ground."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, LiteralString

import psycopg
import pytest
from psycopg.rows import AsyncRowFactory, dict_row

from outboxkit import sql
from outboxkit.sql.apply import apply
from relay.core.errors import OutboxChanged, PositionLost, SourceUnavailable
from relay.core.position import Lsn, Snapshot
from relay.operating.setup.steps import setup
from relay.sources.wal.ownership import OtherOutbox
from relay.storage.deadline import SECONDS
from relay.storage.facts import Facts, Owner
from relay.storage.position import StoredPosition
from relay.storage.server import Server
from relay.storage.session import Row, Session
from sandbox import Isolated
from tests.integration.relay.stage import settings

EARLY, LATE = Snapshot(700, 710, (701, 705)), Snapshot(720, 720)


@asynccontextmanager
async def session(ready: Isolated) -> AsyncIterator[Session]:
    async with Session(lambda: ready.database_url, name="relay", slot=ready.name) as opened:
        yield opened


def owner(ready: Isolated) -> Owner:
    return Owner("relay", ready.name, ["outbox.event"])


async def facts(ready: Isolated, opened: Session) -> Facts:
    return await Server(opened, name="relay", slot=ready.name, table="outbox.event").facts()


async def claimed(ready: Isolated, opened: Session, **found: Any) -> StoredPosition:  # noqa: ANN401 - any field
    """Return a position that is claimed by a process to which the server says `found`."""
    position = StoredPosition(opened, owner(ready))
    await position.claim(replace(await facts(ready, opened), **found), plugin="wal2json", timeline=3)
    return position


def row(ready: Isolated) -> dict[str, Any]:
    with psycopg.connect(ready.database_url, row_factory=dict_row) as connection:
        found = connection.execute("SELECT *, lsn::text, snapshot::text FROM relay.checkpoint").fetchone()
    assert found is not None
    return found


def start(ready: Isolated) -> Lsn:
    return Lsn.parse(row(ready)["lsn"])


def written(ready: Isolated, statement: LiteralString, *parameters: object) -> None:
    with psycopg.connect(ready.database_url, autocommit=True) as connection:
        connection.execute(statement, parameters or None)


def flushed(ready: Isolated) -> Lsn:
    with psycopg.connect(ready.database_url) as connection:
        found = connection.execute("SELECT pg_current_wal_flush_lsn()::text").fetchone()
    assert found is not None
    return Lsn.parse(found[0])


def test_a_claim_stores_all_that_the_position_is_a_position_of(ready: Isolated) -> None:
    async def scenario() -> None:
        async with session(ready) as opened:
            before = row(ready)
            await claimed(ready, opened)
            database = psycopg.conninfo.conninfo_to_dict(ready.database_url)["dbname"]
            after = row(ready)
            assert after["epoch"] == before["epoch"] + 1
            assert (after["lsn"], after["outboxes"], after["database"], after["timeline"]) == (
                before["lsn"], ["outbox.event"], database, 3,
            )  # fmt: skip

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("snapshots", "last"), [([None], None), ([EARLY, None], str(EARLY)), ([EARLY, LATE], str(LATE))]
)
def test_a_save_counts_the_epoch_and_keeps_the_last_snapshot(
    ready: Isolated, snapshots: Sequence[Snapshot | None], last: str | None
) -> None:
    async def scenario() -> None:
        async with session(ready) as opened:
            position = await claimed(ready, opened)
            epoch, at = row(ready)["epoch"], start(ready)
            written(ready, "SELECT outbox.publish('t', '1', 1, 'e', '{}')")
            for step, snapshot in enumerate(snapshots):
                await position.save(Lsn(at + step), snapshot)
            after = row(ready)
            assert (after["epoch"], after["snapshot"]) == (epoch + len(snapshots), last)
            assert after["lsn"] == str(Lsn(at + len(snapshots) - 1))
            assert position.wrote(await facts(ready, opened))

    asyncio.run(scenario())


def test_who_claimed_before_can_no_longer_store_and_no_longer_trusts_its_memory(ready: Isolated) -> None:
    async def scenario() -> None:
        async with session(ready) as opened:
            frozen = await claimed(ready, opened)
            await claimed(ready, opened)
            with pytest.raises(PositionLost, match="written by somebody else"):
                await frozen.save(start(ready), None)
            assert not frozen.wrote(await facts(ready, opened))

    asyncio.run(scenario())


def test_a_claim_of_a_row_that_was_written_since_it_was_read_is_refused(ready: Isolated) -> None:
    async def scenario() -> None:
        async with session(ready) as opened:
            found = await facts(ready, opened)
            await claimed(ready, opened)
            with pytest.raises(PositionLost, match="has changed since it was read"):
                await StoredPosition(opened, owner(ready)).claim(found, plugin="wal2json", timeline=1)

    asyncio.run(scenario())


def test_a_database_that_went_back_in_time_takes_no_position_of_the_time_that_is_gone(ready: Isolated) -> None:
    """An older copy has the row of then; its epoch may even be the same, and its WAL may have passed the position."""

    async def scenario() -> None:
        async with session(ready) as opened:
            position = await claimed(ready, opened)
            copied = row(ready)
            await position.save(flushed(ready), EARLY)
            written(ready, "UPDATE relay.checkpoint SET lsn = %s, epoch = %s", copied["lsn"], copied["epoch"])
            with pytest.raises(PositionLost, match="written by somebody else"):
                await position.save(flushed(ready), LATE)
            assert not position.wrote(await facts(ready, opened))
            assert start(ready) == Lsn.parse(copied["lsn"])

    asyncio.run(scenario())


def test_two_saves_at_once_are_both_this_process_own(ready: Isolated) -> None:
    async def scenario() -> None:
        async with session(ready) as opened:
            position = await claimed(ready, opened)
            at, epoch = flushed(ready), row(ready)["epoch"]
            await asyncio.gather(position.save(Lsn(at - 1), None), position.save(at, None))
            assert (start(ready), row(ready)["epoch"]) == (at, epoch + 2)

    asyncio.run(scenario())


class Saving(Session):
    """A session whose saves are sent with `sent` changed; with `answered` false, they take place without an answer."""

    sent: Mapping[str, object] = MappingProxyType({})
    answered = True

    async def fetch(
        self,
        row_factory: AsyncRowFactory[Row],
        query: str,
        parameters: Mapping[str, object],
        *,
        seconds: float = SECONDS,
    ) -> Row | None:
        saves = query == "checkpoint_save"
        changed = {**parameters, **self.sent} if saves else parameters
        row = await super().fetch(row_factory, query, changed, seconds=seconds)
        if saves and not self.answered:
            raise SourceUnavailable("the connection broke", remedy="check the network")
        return row


def test_a_server_that_was_started_again_takes_no_position_of_before(ready: Isolated) -> None:
    async def scenario() -> None:
        async with Saving(lambda: ready.database_url, name="relay", slot=ready.name) as opened:
            opened.sent = {"server_started_at": datetime(2020, 1, 1, tzinfo=UTC)}
            position, before = await claimed(ready, opened), row(ready)
            with pytest.raises(PositionLost, match="started again"):
                await position.save(flushed(ready), None)
            assert row(ready) == before
            found = await facts(ready, opened)
            assert position.wrote(found)
            assert not position.wrote(replace(found, server_started_at=datetime(2020, 1, 1, tzinfo=UTC)))

    asyncio.run(scenario())


def test_a_position_ahead_of_the_servers_wal_is_not_stored(ready: Isolated) -> None:
    async def scenario() -> None:
        async with session(ready) as opened:
            position, before = await claimed(ready, opened), start(ready)
            with pytest.raises(PositionLost, match="ahead of the server's WAL"):
                await position.save(Lsn(flushed(ready) + (1 << 30)), None)
            assert start(ready) == before

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "change",
    [
        "CREATE TABLE outbox.event_x PARTITION OF outbox.event FOR VALUES FROM ('2031-01-01') TO ('2031-01-02')",
        "ALTER TABLE outbox.event_default RENAME TO event_other",
        "ALTER TABLE outbox.event DETACH PARTITION outbox.event_default",
    ],
)
def test_no_position_is_stored_past_a_change_of_the_partitions(ready: Isolated, change: LiteralString) -> None:
    async def scenario() -> None:
        async with session(ready) as opened:
            position, before = await claimed(ready, opened), start(ready)
            written(ready, change)
            with pytest.raises(OutboxChanged):
                await position.save(flushed(ready), None)
            assert start(ready) == before
            assert not position.wrote(await facts(ready, opened))

    asyncio.run(scenario())


def test_a_table_that_only_looks_like_a_partition_changes_nothing(ready: Isolated) -> None:
    async def scenario() -> None:
        async with session(ready) as opened:
            position = await claimed(ready, opened)
            written(ready, "CREATE TABLE outbox.event_backup AS SELECT * FROM outbox.event")
            await position.save(flushed(ready), None)

    asyncio.run(scenario())


def test_a_save_without_an_answer_that_took_place_is_this_process_own(ready: Isolated) -> None:
    async def scenario() -> None:
        async with Saving(lambda: ready.database_url, name="relay", slot=ready.name) as opened:
            opened.answered = False
            position = await claimed(ready, opened)
            with pytest.raises(SourceUnavailable):
                await position.save(flushed(ready), None)
            found = await facts(ready, opened)
            assert position.wrote(found)
            assert not position.wrote(replace(found, checkpoint_lsn="0/1"))
            assert not position.wrote(replace(found, checkpoint_epoch=(found.checkpoint_epoch or 0) + 1))

    asyncio.run(scenario())


def test_a_slot_has_one_relay(ready: Isolated) -> None:
    insert: LiteralString = "INSERT INTO relay.checkpoint VALUES ('second', %s, '0/1', '7', 1)"
    with pytest.raises(psycopg.errors.UniqueViolation, match="a slot has one relay"):
        written(ready, insert, ready.name)


def test_an_upgrade_keeps_the_latest_row_of_each_slot(isolated: Isolated, monkeypatch: pytest.MonkeyPatch) -> None:
    with psycopg.connect(isolated.database_url, autocommit=True) as connection:
        connection.execute("DROP SCHEMA outbox, tasks, relay CASCADE")
        connection.execute("DROP SCHEMA outbox_setup CASCADE")
        files = sql.schema()
        monkeypatch.setattr(sql, "schema", lambda: [file for file in files if file.name < "006"])
        apply(connection)
        connection.execute(
            "INSERT INTO relay.checkpoint VALUES ('old name', 'outbox_relay', '0/8', '7', 1, '2020-01-01')"
        )
        connection.execute("INSERT INTO relay.checkpoint VALUES ('relay', 'outbox_relay', '0/10', '7', 1)")
        monkeypatch.undo()
        assert [file.name for file in apply(connection).files] == [file.name for file in files if file.name >= "006"]
        rows = connection.execute("SELECT name, lsn::text, mode, snapshot, epoch FROM relay.checkpoint").fetchall()
    assert rows == [("relay", "0/10", "wal", None, 0)]


def test_a_row_of_the_wal_without_an_lsn_is_refused(isolated: Isolated) -> None:
    insert = "INSERT INTO relay.checkpoint (name, slot, system_identifier, timeline) VALUES ('r', 's', '7', 1)"
    with pytest.raises(psycopg.errors.CheckViolation, match="a position in the WAL has an LSN"):
        written(isolated, insert)


def test_the_relays_own_writes_wait_for_no_standby(ready: Isolated) -> None:
    """A synchronous standby that is away holds up every commit, and must not hold up these."""

    async def scenario() -> None:
        async with session(ready) as opened:
            position = await claimed(ready, opened)
            written(ready, "ALTER SYSTEM SET synchronous_standby_names = 'nowhere'")
            written(ready, "SELECT pg_reload_conf()")
            try:
                async with asyncio.timeout(10):
                    await position.save(flushed(ready), None)
            finally:
                with psycopg.connect(ready.database_url, autocommit=True) as connection:
                    connection.execute("SET synchronous_commit = local")
                    connection.execute("ALTER SYSTEM RESET synchronous_standby_names")
                    connection.execute("SELECT pg_reload_conf()")

    asyncio.run(scenario())


def test_the_slot_of_another_database_or_outbox_is_neither_set_up_nor_dropped(ready: Isolated) -> None:
    other = settings(ready, outbox_table="public.outbox")
    for accept_gap in (False, True):
        with pytest.raises(OtherOutbox, match=r"outbox\.event.*public\.outbox"):
            list(setup(other, accept_gap=accept_gap))
